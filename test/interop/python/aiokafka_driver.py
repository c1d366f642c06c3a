# aiokafka behind the verbs of foreign-client.ts. Everything runs on one event loop; who asks waits in a thread.
# Started with: BROKERS.

import asyncio
import sys
import threading

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from driver import WAIT_S, raw, serve, text

BROKERS = sys.argv[1].split(",")
ASSIGNORS = {"range": RangePartitionAssignor, "sticky": StickyPartitionAssignor}
members = {}
loads = {}


def plain(record):
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": text(record.key),
        "value": text(record.value),
        "headers": [[name, text(value)] for name, value in record.headers],
    }


async def produce(topic, codec, idempotent, records):
    producer = AIOKafkaProducer(
        bootstrap_servers=BROKERS,
        compression_type=None if codec == "none" else codec,
        enable_idempotence=idempotent,
        acks="all",
        linger_ms=50,
    )
    await producer.start()
    try:
        sends = [
            await producer.send(
                topic,
                value=raw(record["value"]),
                key=raw(record["key"]),
                partition=record.get("partition"),
                timestamp_ms=record["timestamp"],
                headers=[(name, raw(value)) for name, value in record["headers"]],
            )
            for record in records
        ]
        await asyncio.gather(*sends)
    finally:
        await producer.stop()


def new_consumer(**more):
    return AIOKafkaConsumer(
        bootstrap_servers=BROKERS,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=200,
        **more,
    )


async def read(topic, partition, count, **start):
    consumer = new_consumer()
    await consumer.start()
    found = []
    try:
        one = TopicPartition(topic, partition)
        consumer.assign([one])
        consumer.seek(one, start["from"])
        while len(found) < count:
            records = await asyncio.wait_for(consumer.getone(), WAIT_S)
            found.append(plain(records))
    finally:
        await consumer.stop()
    return found


async def offsets(topic, partition, at):
    consumer = new_consumer()
    await consumer.start()
    try:
        one = TopicPartition(topic, partition)
        if at == "earliest":
            return (await consumer.beginning_offsets([one]))[one]
        if at == "latest":
            return (await consumer.end_offsets([one]))[one]
        found = (await consumer.offsets_for_times({one: at}))[one]
        return -1 if found is None else found.offset
    finally:
        await consumer.stop()


class Member(ConsumerRebalanceListener):
    def __init__(self, member, group, topics, assignor):
        self.consumer = new_consumer(
            group_id=group,
            client_id=member,
            session_timeout_ms=6000,
            heartbeat_interval_ms=500,
            partition_assignment_strategy=(ASSIGNORS[assignor],),
        )
        self.topics = topics
        self.changed = asyncio.Condition()
        self.records = []
        self.taken = {}
        self.task = None

    async def start(self):
        self.consumer.subscribe(self.topics, listener=self)
        await self.consumer.start()
        self.task = asyncio.create_task(self.poll())

    def forget(self, gone):
        self.records = [one for one in self.records if TopicPartition(one["topic"], one["partition"]) not in gone]
        for one in gone:
            self.taken.pop(one, None)

    async def on_partitions_revoked(self, revoked):
        self.forget(revoked)

    async def on_partitions_assigned(self, assigned):
        async with self.changed:
            self.changed.notify_all()

    async def poll(self):
        while True:
            found = await self.consumer.getmany(timeout_ms=100)
            async with self.changed:
                for records in found.values():
                    self.records += [plain(one) for one in records]
                self.changed.notify_all()

    async def wait_for(self, is_so, what):
        try:
            await asyncio.wait_for(self.changed.wait_for(lambda: self.task.done() or is_so()), WAIT_S)
        except asyncio.TimeoutError:
            have = f"{self.consumer.assignment()}, {len(self.records)} records"
            raise TimeoutError(f"still waiting for {what}: {have}") from None
        if self.task.done():
            raise self.task.exception()

    async def assigned(self, count):
        async with self.changed:
            await self.wait_for(lambda: len(self.consumer.assignment()) == count, f"{count} partitions")
            return sorted(f"{one.topic}-{one.partition}" for one in self.consumer.assignment())

    async def take(self, count):
        async with self.changed:
            await self.wait_for(lambda: len(self.records) >= count, f"{count} records")
            some, self.records = self.records[:count], self.records[count:]
            for one in some:
                self.taken[TopicPartition(one["topic"], one["partition"])] = one["offset"] + 1
            return some

    async def commit(self):
        await self.consumer.commit(dict(self.taken))

    async def seek(self, topic, partition, offset):
        # Between two polls, which is when this can run: nothing that was fetched before comes after.
        one = TopicPartition(topic, partition)
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.consumer.seek(one, offset)
        self.forget({one})
        self.task = asyncio.create_task(self.poll())

    async def leave(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.consumer.stop()


class Load:
    """An idempotent producer that writes until it is told to end."""

    def __init__(self, name, topic):
        self.name = name
        self.topic = topic
        self.acknowledged = []
        self.failed = []
        self.changed = asyncio.Condition()
        self.is_ending = False
        self.producer = AIOKafkaProducer(
            bootstrap_servers=BROKERS,
            enable_idempotence=True,
            request_timeout_ms=60000,
            linger_ms=5,
            metadata_max_age_ms=2000,
        )
        self.task = None

    async def start(self):
        await self.producer.start()
        self.task = asyncio.create_task(self.write())

    async def write(self):
        number = 0
        slots = asyncio.Semaphore(20)
        sends = set()
        while not self.is_ending:
            await slots.acquire()
            # What is written is read again: no more than a moment's worth.
            await asyncio.sleep(0.002)
            value = f"{self.name}:{number}"
            number += 1
            # The order of the records is the order of the calls, so they are not made side by side.
            sending = await self.producer.send(self.topic, value=value.encode(), partition=0)
            task = asyncio.create_task(self.one(value, sending, slots))
            sends.add(task)
            task.add_done_callback(sends.discard)
        await asyncio.gather(*sends)
        await self.producer.stop()

    async def one(self, value, sending, slots):
        try:
            at = await sending
            self.acknowledged.append([value, at.offset])
        except Exception as error:
            self.failed.append([value, repr(error)])
        slots.release()
        async with self.changed:
            self.changed.notify_all()

    async def more(self, count):
        async with self.changed:
            goal = len(self.acknowledged) + count
            wait = self.changed.wait_for(lambda: len(self.acknowledged) >= goal)
            try:
                await asyncio.wait_for(wait, 2 * WAIT_S)
            except asyncio.TimeoutError:
                raise TimeoutError(f"only {len(self.acknowledged)} of {goal}, failed {self.failed}") from None
            return len(self.acknowledged)

    async def end(self):
        self.is_ending = True
        await self.task
        return {"acknowledged": self.acknowledged, "failed": self.failed}


async def join(member, **how):
    members[member] = Member(member, **how)
    await members[member].start()


async def load(name, topic):
    loads[name] = Load(name, topic)
    await loads[name].start()


def administered(work):
    """A verb that is given an admin client."""

    async def verb(**ask):
        admin = AIOKafkaAdminClient(bootstrap_servers=BROKERS)
        await admin.start()
        try:
            return await work(admin, **ask)
        finally:
            await admin.close()

    return verb


def checked(response):
    for attribute in ("topic_errors", "topic_error_codes", "results"):
        for row in getattr(response, attribute, []):
            if row[1] != 0:
                raise aiokafka.errors.for_code(row[1])(str(row))


async def create_topics(admin, topics):
    wishes = []
    for one in topics:
        assignments = one.get("assignments")
        if assignments:
            wishes.append(
                NewTopic(
                    one["topic"],
                    -1,
                    -1,
                    replica_assignments=dict(enumerate(assignments)),
                    topic_configs=one.get("configs", {}),
                )
            )
        else:
            wishes.append(NewTopic(one["topic"], one["partitions"], 1, topic_configs=one.get("configs", {})))
    checked(await admin.create_topics(wishes))


async def describe_topic(admin, topic):
    (found,) = await admin.describe_topics([topic])
    return sorted(
        (
            {
                "partition": one["partition"],
                "leader": one["leader"],
                "replicas": one["replicas"],
                "isr": one["isr"],
            }
            for one in found["partitions"]
        ),
        key=lambda one: one["partition"],
    )


async def create_partitions(admin, topic, total):
    checked(await admin.create_partitions({topic: NewPartitions(total)}))


async def delete_topics(admin, topics):
    checked(await admin.delete_topics(topics))


async def describe_configs(admin, topic):
    (found,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    ((_, _, _, _, entries),) = found.resources
    return {entry[0]: entry[1] for entry in entries}


async def replace_configs(admin, topic, configs):
    (response,) = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs)])
    for row in response.resources:
        if row[0] != 0:
            raise aiokafka.errors.for_code(row[0])(row[1])


async def describe_cluster(admin):
    found = await admin.describe_cluster()
    nodes = [{"id": one["node_id"], "address": f"{one['host']}:{one['port']}"} for one in found["brokers"]]
    return {"cluster": found["cluster_id"], "controller": found["controller_id"], "nodes": nodes}


async def list_groups(admin):
    return sorted(group for group, _ in await admin.list_consumer_groups())


async def describe_group(admin, group):
    ((found,),) = [response.groups for response in await admin.describe_consumer_groups([group])]
    code, _, state, _, protocol, members_found = found[:6]
    if code != 0:
        raise aiokafka.errors.for_code(code)()
    return {
        "state": state.upper(),
        "assignor": protocol,
        "members": [{"clientId": one[1], "partitions": None} for one in members_found],
    }


async def group_offsets(admin, group):
    found = await admin.list_consumer_group_offsets(group)
    return {f"{one.topic}-{one.partition}": at.offset for one, at in found.items()}


async def delete_records(admin, topic, partition, before):
    one = TopicPartition(topic, partition)
    found = await admin.delete_records({one: aiokafka.admin.RecordsToDelete(before_offset=before)})
    return found[one]



loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()


def blocking(work):
    return lambda **ask: asyncio.run_coroutine_threadsafe(work(**ask), loop).result()


serve(
    {
        "version": lambda: aiokafka.__version__,
        "produce": blocking(produce),
        "read": blocking(read),
        "offsets": blocking(offsets),
        "join": blocking(join),
        "assigned": blocking(lambda member, count: members[member].assigned(count)),
        "take": blocking(lambda member, count: members[member].take(count)),
        "commit": blocking(lambda member: members[member].commit()),
        "seek": blocking(lambda member, **to: members[member].seek(**to)),
        "leave": blocking(lambda member: members.pop(member).leave()),
        "load": blocking(load),
        "loaded": blocking(lambda name, count: loads[name].more(count)),
        "endLoad": blocking(lambda name: loads.pop(name).end()),
        "createTopics": blocking(administered(create_topics)),
        "listTopics": blocking(administered(lambda admin: admin.list_topics())),
        "describeTopic": blocking(administered(describe_topic)),
        "createPartitions": blocking(administered(create_partitions)),
        "deleteTopics": blocking(administered(delete_topics)),
        "describeConfigs": blocking(administered(describe_configs)),
        "replaceConfigs": blocking(administered(replace_configs)),
        "describeCluster": blocking(administered(describe_cluster)),
        "listGroups": blocking(administered(list_groups)),
        "describeGroup": blocking(administered(describe_group)),
        "groupOffsets": blocking(administered(group_offsets)),
        "deleteRecords": blocking(administered(delete_records)),
    }
)
