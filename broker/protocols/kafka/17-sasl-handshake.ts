// SaslHandshake: whether a way to say who one is may be used. There is none here.
//
// v1 goes on with SaslAuthenticate where v0 went on with bare bytes; it has the same fields.

import { defineApi } from './api.ts'

export const saslHandshake = defineApi({
  key: 17,
  name: 'SaslHandshake',
  versions: '0-1',
  request: {
    mechanism: 'string',
  },
  response: {
    errorCode: 'int16',
    mechanisms: { array: 'string' },
  },
})
