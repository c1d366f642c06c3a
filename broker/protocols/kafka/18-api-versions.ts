// ApiVersions: which APIs are offered in which versions. The first request of every client.
//
// The response never has tagged fields in its header, and a request of a version that is not known is answered in v0 with
// error 35: a client must be able to read the answer before it knows anything. v1 has the throttle time. v2 throttles
// after the answer. v3 is flexible and says what software asks. In v4 a feature may have 0 as its lowest version; such
// features are left out before.

import { defineApi } from './api.ts'

/** The feature that tells that a produce may say that offsets are kept. */
export const KEPT_OFFSETS = 'tidemark.kept.offsets'

export const apiVersions = defineApi({
  key: 18,
  name: 'ApiVersions',
  versions: '0-4',
  flexible: '3+',
  request: {
    clientSoftwareName: { type: 'string', versions: '3+', ignorable: true },
    clientSoftwareVersion: { type: 'string', versions: '3+', ignorable: true },
  },
  response: {
    errorCode: 'int16',
    apiKeys: {
      array: {
        apiKey: 'int16',
        minVersion: 'int16',
        maxVersion: 'int16',
      },
    },
    throttleTimeMs: { type: 'int32', versions: '1+', default: 0, ignorable: true },
    supportedFeatures: {
      array: {
        name: 'string',
        minVersion: 'int16',
        maxVersion: 'int16',
      },
      versions: '3+',
      tag: 0,
      ignorable: true,
    },
    finalizedFeaturesEpoch: { type: 'int64', versions: '3+', tag: 1, default: -1, ignorable: true },
    finalizedFeatures: {
      array: {
        name: 'string',
        maxVersionLevel: 'int16',
        minVersionLevel: 'int16',
      },
      versions: '3+',
      tag: 2,
      ignorable: true,
    },
    zkMigrationReady: { type: 'boolean', versions: '3+', tag: 3, default: false, ignorable: true },
  },
})
