// The Lua scripts: every change of what the brokers agree on is one of them, so that it happens whole or not at all. Owns
// their text; knows nothing of connections. What is given by users comes in by ARGV and is kept in values, never in the
// text of a script or the name of a key.
//
// All scripts have the same first KEYS (redis-keys.ts, fixed). Those that change something begin their ARGV with what the
// caller believes: history and version. A script that finds itself in a Redis which is not the one believed in answers
// 'stale' and has changed nothing, so that a command which arrives late, after a restart, a failover or a restore, is
// harmless.
//
// Every changed object gets a version of its own from one counter, and stands in the sorted set `changed` under it:
// reading what is new is a range of that set. The channel with the name of that set tells the last version as a hint.

import { createHash } from 'node:crypto'

export interface RedisScript {
  readonly name: string
  readonly lua: string
  readonly sha1: string
}

/** Outcomes of requests are remembered this long, and not more of them. */
const REQUESTS_KEPT_SECONDS = 600
const REQUESTS_KEPT_MAX = 5_000
/** A broker that was away for longer may bring a deleted topic back. */
const TOMBSTONES_KEPT_SECONDS = 30 * 24 * 60 * 60

const PRELUDE = `
local META, CHANGED, BROKERS, TOPICS, NAMES, LEADERS = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local TOMBSTONES, REQUESTS, REQUEST_TIMES, REPUBLISHED, EXPECTED = KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11]

-- Names the data that this process serves: another one after a restart, a failover and a full resynchronisation.
local function life()
  local replication = redis.call('INFO', 'replication')
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  return run .. ':' .. string.match(replication, 'master_replid:(%x+)'), string.match(replication, 'role:(%a+)')
end

local function is_believed(history, version)
  local meta = redis.call('HMGET', META, 'history', 'version', 'life')
  return meta[1] == history and tonumber(meta[2]) >= tonumber(version) and meta[3] == life()
end

local function is_republishing()
  return redis.call('HGET', META, 'mode') == 'republishing'
end

local touched
local function touch(member)
  touched = redis.call('HINCRBY', META, 'version', 1)
  redis.call('ZADD', CHANGED, touched, member)
end

local function now()
  return tonumber(redis.call('TIME')[1])
end

local function integer(number)
  return string.format('%.0f', number)
end

-- A leadership is the text epoch|version|leader|inSyncReplicas|request; leader is empty while there is none.
local function parse_leadership(text)
  if not text then return nil end
  local epoch, version, leader, in_sync, request = string.match(text, '^(%d+)|(%d+)|(%d*)|([%d,]*)|(%x*)$')
  if not epoch then return nil end
  return { epoch = tonumber(epoch), version = tonumber(version), leader = leader, in_sync = in_sync, request = request }
end

local function remove_topic(id, json)
  local topic = cjson.decode(json)
  redis.call('HDEL', TOPICS, id)
  if redis.call('HGET', NAMES, topic.name) == id then redis.call('HDEL', NAMES, topic.name) end
  for partition = 0, topic.partitions - 1 do
    local member = id .. ':' .. partition
    redis.call('HDEL', LEADERS, member)
    redis.call('ZREM', CHANGED, 'p:' .. member)
  end
end

local function bury(id)
  redis.call('ZADD', TOMBSTONES, now(), id)
  touch('t:' .. id)
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', TOMBSTONES, '-inf', now() - ${TOMBSTONES_KEPT_SECONDS}, 'LIMIT', 0, 100)) do
    redis.call('ZREM', TOMBSTONES, old)
    redis.call('ZREM', CHANGED, 't:' .. old)
  end
end

local function remember(request, kind, json)
  redis.call('HSET', REQUESTS, request, kind .. ' ' .. json)
  redis.call('ZADD', REQUEST_TIMES, now(), request)
  local old = redis.call('ZRANGEBYSCORE', REQUEST_TIMES, '-inf', now() - ${REQUESTS_KEPT_SECONDS}, 'LIMIT', 0, 100)
  if redis.call('ZCARD', REQUEST_TIMES) - #old > ${REQUESTS_KEPT_MAX} then
    old = redis.call('ZRANGE', REQUEST_TIMES, 0, 0)
  end
  for _, request_id in ipairs(old) do
    redis.call('ZREM', REQUEST_TIMES, request_id)
    redis.call('HDEL', REQUESTS, request_id)
  end
  return { kind, json }
end

-- The outcome that the request had before, or why it cannot be done now; nil if it is to be done.
local function refuse_topic_request(history, version, request)
  if not is_believed(history, version) then return { 'stale' } end
  local known = redis.call('HGET', REQUESTS, request)
  if known then
    local kind, json = string.match(known, '^(%S+) (.*)$')
    return { kind, json }
  end
  if is_republishing() then return { 'republishing' } end
  return nil
end
`

/** Says to whoever listens that something is new. It is a hint: one that is lost, or not allowed, changes nothing. */
const EPILOGUE = `
local reply = main()
if touched then redis.pcall('PUBLISH', CHANGED, integer(touched)) end
return reply
`

function script(name: string, body: string): RedisScript {
  const lua = `-- tidemark: ${name}${PRELUDE}\nlocal function main()${body}end\n${EPILOGUE}`
  return { name, lua, sha1: createHash('sha1').update(lua).digest('hex') }
}

/**
 * What is new.
 * KEYS  fixed, then one session key for each broker known to the caller
 * ARGV  1 version from which on (exclusive), 2 how many objects at most, 3 '1' if the records are to be counted
 * gives life, role, then of meta: life, history, version, mode, clusterId; topics, names, leaderships, brokers counted
 *       (-1 if they were not); the republished brokers as a list, empty unless Redis is being filled again; the sessions in the order of KEYS ('' if over); the objects as a flat list of
 *       member, version, value. A value is '' for what is gone, and '-' for a topic that was deleted; how many records
 *       of topics, leaderships and brokers there must be (-1 if they were not counted); of meta: formerClusterId
 */
export const READ = script(
  'read',
  `
local life_now, role = life()
local meta = redis.call('HMGET', META, 'life', 'history', 'version', 'mode', 'clusterId', 'formerClusterId')
local sessions = {}
if #KEYS > 11 then
  sessions = redis.call('MGET', unpack(KEYS, 12))
  for index = 1, #sessions do
    sessions[index] = sessions[index] or ''
  end
end
local objects = {}
local changed = redis.call('ZRANGEBYSCORE', CHANGED, '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for index = 1, #changed, 2 do
  local member = changed[index]
  local kind, id = string.sub(member, 1, 1), string.sub(member, 3)
  local value
  if kind == 't' then
    value = redis.call('HGET', TOPICS, id)
    if not value and redis.call('ZSCORE', TOMBSTONES, id) then value = '-' end
  elseif kind == 'p' then
    value = redis.call('HGET', LEADERS, id)
  else
    value = redis.call('HGET', BROKERS, id)
  end
  objects[#objects + 1] = member
  objects[#objects + 1] = changed[index + 1]
  objects[#objects + 1] = value or ''
end
local function count(key)
  return ARGV[3] == '1' and redis.call('HLEN', key) or -1
end
return {
  life_now, role, meta[1] or '', meta[2] or '', meta[3] or '0', meta[4] or '', meta[5] or '',
  count(TOPICS), count(NAMES), count(LEADERS), count(BROKERS),
  meta[4] == 'republishing' and redis.call('SMEMBERS', REPUBLISHED) or {}, sessions, objects,
  ARGV[3] == '1' and redis.call('ZCARD', CHANGED) - redis.call('ZCARD', TOMBSTONES) or -1, meta[6] or ''
}
`,
)

/**
 * Begins a new history in a Redis that is empty or not to be believed. With whoever does it first all others agree.
 * KEYS  fixed
 * ARGV  1 history as the caller read it ('' if none), 2 its life as the caller read it, 3 the new history, 4 the highest
 *       version the caller knows, 5 cluster id, 6 '1' if the caller knows of nothing,
 *       7 '1' if the cluster is to be the caller's
 * gives 'begun', 'moved' if Redis is not as the caller read it, or 'another' if it holds topics of another cluster. A cluster
 *       without topics gives way to one whose brokers know of some: it was begun by a broker with an empty disk, which met
 *       an empty Redis before the others did.
 */
export const BEGIN_HISTORY = script(
  'begin-history',
  `
local meta = redis.call('HMGET', META, 'history', 'version', 'clusterId')
local life_now = life()
if (meta[1] or '') ~= ARGV[1] or life_now ~= ARGV[2] then return { 'moved' } end
local cluster_id = meta[3] or ARGV[5]
if cluster_id ~= ARGV[5] and ARGV[7] == '1' then
  if redis.call('EXISTS', TOPICS, TOMBSTONES) > 0 then return { 'another' } end
  redis.call('HSET', META, 'formerClusterId', cluster_id)
  cluster_id = ARGV[5]
end
local is_empty = redis.call('EXISTS', TOPICS, LEADERS, TOMBSTONES, BROKERS) == 0
local mode = (ARGV[6] == '1' and ARGV[1] == '' and is_empty) and 'normal' or 'republishing'
local version = math.max(tonumber(meta[2] or '0'), tonumber(ARGV[4])) + 1
redis.call('HSET', META, 'history', ARGV[3], 'life', life_now, 'version', integer(version), 'mode', mode,
  'since', now(), 'clusterId', cluster_id)
redis.call('DEL', REPUBLISHED, EXPECTED, NAMES)

-- What follows from other records is made anew, since a part of it may be missing.
local function touch_unknown(kind, ids)
  for _, id in ipairs(ids) do
    if not redis.call('ZSCORE', CHANGED, kind .. id) then touch(kind .. id) end
  end
end
local topics = redis.call('HGETALL', TOPICS)
for index = 1, #topics, 2 do
  redis.call('HSET', NAMES, cjson.decode(topics[index + 1]).name, topics[index])
end
-- Of what has no record any more, nothing is told.
for _, member in ipairs(redis.call('ZRANGE', CHANGED, 0, -1)) do
  local kind, id = string.sub(member, 1, 1), string.sub(member, 3)
  local is_there = kind == 't' and (redis.call('HEXISTS', TOPICS, id) == 1 or redis.call('ZSCORE', TOMBSTONES, id))
    or kind == 'p' and redis.call('HEXISTS', LEADERS, id) == 1
    or kind == 'b' and redis.call('HEXISTS', BROKERS, id) == 1
  if not is_there then redis.call('ZREM', CHANGED, member) end
end
touch_unknown('t:', redis.call('HKEYS', TOPICS))
touch_unknown('t:', redis.call('ZRANGE', TOMBSTONES, 0, -1))
touch_unknown('p:', redis.call('HKEYS', LEADERS))
touch_unknown('b:', redis.call('HKEYS', BROKERS))
return { 'begun' }
`,
)

/**
 * Takes in what a broker knows, where it is newer than what Redis has. A deletion is newer than every version.
 * KEYS  fixed
 * ARGV  1 history, 2 version, then for each object: kind, id, value
 *       topic: its JSON; tombstone: ''; leadership: its text; broker: its JSON
 * gives 'done' and the ids of the topics that could not be taken in, since another one has their name; or 'stale'
 */
export const MERGE = script(
  'merge',
  `
if not is_believed(ARGV[1], ARGV[2]) then return { 'stale' } end
local result = { 'done' }
for index = 3, #ARGV, 3 do
  local kind, id, value = ARGV[index], ARGV[index + 1], ARGV[index + 2]
  if kind == 'topic' then
    if not redis.call('ZSCORE', TOMBSTONES, id) then
      local mine, current = cjson.decode(value), redis.call('HGET', TOPICS, id)
      local owner = redis.call('HGET', NAMES, mine.name)
      if owner and owner ~= id then
        result[#result + 1] = id
      elseif not current or cjson.decode(current).version < mine.version then
        redis.call('HSET', TOPICS, id, value)
        redis.call('HSET', NAMES, mine.name, id)
        touch('t:' .. id)
      elseif not owner then
        redis.call('HSET', NAMES, mine.name, id)
      end
    end
  elseif kind == 'tombstone' then
    local current = redis.call('HGET', TOPICS, id)
    if current then remove_topic(id, current) end
    if not redis.call('ZSCORE', TOMBSTONES, id) then bury(id) end
  elseif kind == 'leadership' then
    local topic_id = string.match(id, '^[^:]+')
    local mine, current = parse_leadership(value), parse_leadership(redis.call('HGET', LEADERS, id))
    local is_newer = not current or mine.epoch > current.epoch
      or (mine.epoch == current.epoch and mine.version > current.version)
    if is_newer and redis.call('HEXISTS', TOPICS, topic_id) == 1 then
      redis.call('HSET', LEADERS, id, value)
      touch('p:' .. id)
    end
  elseif kind == 'broker' and redis.call('HSETNX', BROKERS, id, value) == 1 then
    touch('b:' .. id)
  end
end
return result
`,
)

/**
 * Says that a broker has republished what it knows, and ends the republishing when enough have: all that anybody expects,
 * or, after the grace time, at least half of them.
 * KEYS  fixed
 * ARGV  1 history, 2 version, 3 broker id, 4 grace in seconds, then the brokers that the caller knows of
 * gives 'normal' or 'republishing', or 'stale'
 */
export const REPUBLISHED = script(
  'republished',
  `
if not is_believed(ARGV[1], ARGV[2]) then return { 'stale' } end
if not is_republishing() then return { 'normal' } end
redis.call('SADD', REPUBLISHED, ARGV[3])
redis.call('SADD', EXPECTED, ARGV[3])
for index = 5, #ARGV do
  redis.call('SADD', EXPECTED, ARGV[index])
end
local done, expected = redis.call('SCARD', REPUBLISHED), redis.call('SCARD', EXPECTED)
local is_grace_over = now() - tonumber(redis.call('HGET', META, 'since')) >= tonumber(ARGV[4])
if done < expected and not (is_grace_over and done * 2 >= expected) then return { 'republishing' } end
redis.call('HSET', META, 'mode', 'normal')
return { 'normal' }
`,
)

/**
 * Takes a broker's session.
 * KEYS  fixed, then the session key
 * ARGV  1 history, 2 version, 3 broker id, 4 session, 5 milliseconds it lives, 6 the broker's record as JSON,
 *       7 a session that may be replaced ('' if none); so may an earlier one of the same life. A session is the
 *       incarnation, a slash and a number.
 * gives 'done'; or 'held', the session that holds it, its milliseconds left and its record; or 'stale'
 */
export const TAKE_SESSION = script(
  'take-session',
  `
if not is_believed(ARGV[1], ARGV[2]) then return { 'stale' } end
local function is_own(holder)
  local held_life, held_number = string.match(holder, '^(.*)/(%d+)$')
  local own_life, own_number = string.match(ARGV[4], '^(.*)/(%d+)$')
  return held_life == own_life and tonumber(held_number) <= tonumber(own_number)
end
local holder = redis.call('GET', KEYS[12])
if holder and holder ~= ARGV[7] and not is_own(holder) then
  return { 'held', holder, redis.call('PTTL', KEYS[12]), redis.call('HGET', BROKERS, ARGV[3]) or '' }
end
redis.call('SET', KEYS[12], ARGV[4], 'PX', ARGV[5])
if holder ~= ARGV[4] or redis.call('HGET', BROKERS, ARGV[3]) ~= ARGV[6] then
  redis.call('HSET', BROKERS, ARGV[3], ARGV[6])
  touch('b:' .. ARGV[3])
end
return { 'done' }
`,
)

/**
 * Renews a session that is still held. It believes nothing: a session lost with its Redis is not there.
 * KEYS  fixed, then the session key
 * ARGV  1 session, 2 milliseconds it lives
 * gives 'done', or 'lost' and the session that holds it ('' if none)
 */
export const RENEW_SESSION = script(
  'renew-session',
  `
local holder = redis.call('GET', KEYS[12]) or ''
if holder ~= ARGV[1] then return { 'lost', holder } end
redis.call('PEXPIRE', KEYS[12], ARGV[2])
return { 'done' }
`,
)

/**
 * Ends a session, if it is still that one: by its owner, or by a peer that knows its process is gone.
 * KEYS  fixed, then the session key
 * ARGV  1 broker id, 2 session
 * gives 'done' (also if nobody has a session), or 'moved-on' if another session has begun
 */
export const END_SESSION = script(
  'end-session',
  `
local holder = redis.call('GET', KEYS[12])
if not holder then return { 'done' } end
if holder ~= ARGV[2] then return { 'moved-on' } end
redis.call('DEL', KEYS[12])
touch('b:' .. ARGV[1])
return { 'done' }
`,
)

/**
 * KEYS  fixed
 * ARGV  1 history, 2 version, 3 request, 4 topic id, 5 name, 6 the topic as JSON
 * gives 'done' or 'exists', and the topic as JSON; or 'stale', 'republishing', 'deleted' (the id is one of a deleted topic)
 */
export const CREATE_TOPIC = script(
  'create-topic',
  `
local refused = refuse_topic_request(ARGV[1], ARGV[2], ARGV[3])
if refused then return refused end
if redis.call('ZSCORE', TOMBSTONES, ARGV[4]) then return { 'deleted' } end
local existing = redis.call('HGET', TOPICS, redis.call('HGET', NAMES, ARGV[5]) or ARGV[4])
if existing then return remember(ARGV[3], 'exists', existing) end
redis.call('HSET', TOPICS, ARGV[4], ARGV[6])
redis.call('HSET', NAMES, ARGV[5], ARGV[4])
touch('t:' .. ARGV[4])
return remember(ARGV[3], 'done', ARGV[6])
`,
)

/**
 * KEYS  fixed
 * ARGV  1 history, 2 version, 3 request, 4 topic id, 5 the version the topic must have, 6 the changed topic as JSON
 * gives 'done' or 'conflict', and the topic as JSON; or 'missing', 'stale', 'republishing'
 */
export const CHANGE_TOPIC = script(
  'change-topic',
  `
local refused = refuse_topic_request(ARGV[1], ARGV[2], ARGV[3])
if refused then return refused end
local current = redis.call('HGET', TOPICS, ARGV[4])
if not current then return remember(ARGV[3], 'missing', '') end
if cjson.decode(current).version ~= tonumber(ARGV[5]) then return remember(ARGV[3], 'conflict', current) end
redis.call('HSET', TOPICS, ARGV[4], ARGV[6])
touch('t:' .. ARGV[4])
return remember(ARGV[3], 'done', ARGV[6])
`,
)

/**
 * KEYS  fixed
 * ARGV  1 history, 2 version, 3 request, 4 topic id
 * gives 'done' and the topic that was deleted as JSON; or 'missing', 'stale', 'republishing'
 */
export const DELETE_TOPIC = script(
  'delete-topic',
  `
local refused = refuse_topic_request(ARGV[1], ARGV[2], ARGV[3])
if refused then return refused end
local current = redis.call('HGET', TOPICS, ARGV[4])
if not current then return remember(ARGV[3], 'missing', '') end
remove_topic(ARGV[4], current)
bury(ARGV[4])
return remember(ARGV[3], 'done', current)
`,
)

/**
 * Changes leaderships, each by itself: one that is fenced does not keep the others from being done.
 * KEYS  fixed, then the session key of the caller
 * ARGV  1 history, 2 version, 3 request, 4 broker id of the caller, 5 its session, then for each partition:
 *       what ('suggest', 'in-sync', 'resign'), topic id, partition, epoch, leader, in-sync replicas (1,2,3), the version
 *       it must have ('' for any)
 * gives 'done', then for each partition 'done', 'fenced' or 'missing', and the leadership as text ('' if none);
 *       or, with nothing changed, 'stale', 'no-session', or 'republishing' if a partition to be led waits for its replicas
 */
export const CHANGE_LEADERSHIPS = script(
  'change-leaderships',
  `
if not is_believed(ARGV[1], ARGV[2]) then return { 'stale' } end
if redis.call('GET', KEYS[12]) ~= ARGV[5] then return { 'no-session' } end
local request, self = ARGV[3], ARGV[4]

local topics = {}
local function topic_of(id)
  if topics[id] == nil then
    local json = redis.call('HGET', TOPICS, id)
    topics[id] = json and cjson.decode(json) or false
  end
  return topics[id]
end

-- While Redis is being filled again, a partition is led by nobody new until most of its replicas have said what they know.
local function is_waiting(topic, partition)
  local replicas = topic and topic.assignment and topic.assignment[partition + 1]
  if not replicas then return false end
  local heard = 0
  for _, replica in ipairs(replicas) do
    heard = heard + redis.call('SISMEMBER', REPUBLISHED, integer(replica))
  end
  return heard * 2 <= #replicas
end
if is_republishing() then
  for index = 6, #ARGV, 7 do
    if ARGV[index] == 'suggest' and is_waiting(topic_of(ARGV[index + 1]), tonumber(ARGV[index + 2])) then
      return { 'republishing' }
    end
  end
end

local result = { 'done' }
for index = 6, #ARGV, 7 do
  local what, topic, partition = ARGV[index], topic_of(ARGV[index + 1]), tonumber(ARGV[index + 2])
  local epoch, leader, in_sync, expected = tonumber(ARGV[index + 3]), ARGV[index + 4], ARGV[index + 5], ARGV[index + 6]
  local member = ARGV[index + 1] .. ':' .. ARGV[index + 2]
  local kind, text = 'missing', ''
  if topic and partition >= 0 and partition < topic.partitions then
    text = redis.call('HGET', LEADERS, member) or ''
    local current = parse_leadership(text)
    if current and current.request == request and current.epoch == epoch then
      kind = 'done'
    else
      local is_expected = expected == '' or (current and current.version or 0) == tonumber(expected)
      local may = is_expected
      if what == 'suggest' then
        may = may and (not current or epoch > current.epoch)
      else
        may = may and current ~= nil and current.epoch == epoch and current.leader == self
      end
      if may then
        if what == 'in-sync' then leader = self end
        if what == 'resign' then
          leader = ''
          in_sync = current.in_sync
        end
        local version = integer((current and current.version or 0) + 1)
        text = integer(epoch) .. '|' .. version .. '|' .. leader .. '|' .. in_sync .. '|' .. request
        redis.call('HSET', LEADERS, member, text)
        touch('p:' .. member)
        kind = 'done'
      else
        kind = 'fenced'
      end
    end
  end
  result[#result + 1] = kind
  result[#result + 1] = text
end
return result
`,
)
