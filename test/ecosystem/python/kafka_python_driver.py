# kafka-python behind the verbs of foreign-client.ts. A consumer is touched by one thread only.
# Started with: BROKERS.

import queue
import sys
import threading
import time
from concurrent.futures import Future

import kafka
from driver import WAIT_S, raw, serve, text
from kafka import (
    ConsumerRebalanceListener,
    KafkaAdminClient,
    KafkaConsumer,
    KafkaProducer,
    OffsetAndMetadata,
    OffsetSpec,
    TopicPartition,
)
from kafka.admin import ConfigResource
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import for_code

BROKERS = sys.argv[1].split(",")
ASSIGNORS = {"range": RangePartitionAssignor, "cooperative-sticky": CooperativeStickyAssignor}
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


def produce(topic, codec, idempotent, records):
    producer = KafkaProducer(
        bootstrap_servers=BROKERS,
        compression_type=None if codec == "none" else codec,
        enable_idempotence=idempotent,
        acks="all",
        linger_ms=50,
    )
    try:
        sends = [
            producer.send(
                topic,
                value=raw(record["value"]),
                key=raw(record["key"]),
                partition=record.get("partition"),
                timestamp_ms=record["timestamp"],
                headers=[(name, raw(value)) for name, value in record["headers"]],
            )
            for record in records
        ]
        for send in sends:
            send.get(timeout=WAIT_S)
    finally:
        producer.close()


def new_consumer(**more):
    return KafkaConsumer(
        bootstrap_servers=BROKERS,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=200,
        **more,
    )


def read(topic, partition, count, **start):
    consumer = new_consumer()
    try:
        one = TopicPartition(topic, partition)
        consumer.assign([one])
        consumer.seek(one, start["from"])
        found = []
        deadline = time.monotonic() + WAIT_S
        while len(found) < count and time.monotonic() < deadline:
            for records in consumer.poll(timeout_ms=200).values():
                found += [plain(record) for record in records]
        return found[:count]
    finally:
        consumer.close()


class Member(ConsumerRebalanceListener):
    """A consumer and the only thread that touches it."""

    def __init__(self, member, group, topics, assignor):
        self.consumer = new_consumer(
            group_id=group,
            client_id=member,
            session_timeout_ms=6000,
            heartbeat_interval_ms=500,
            partition_assignment_strategy=(ASSIGNORS[assignor],),
            metadata_max_age_ms=2000,
        )
        self.consumer.subscribe(topics, listener=self)
        self.changed = threading.Condition()
        self.commands = queue.Queue()
        self.records = []
        self.taken = {}
        self.partitions = set()
        self.failure = None
        self.is_leaving = False
        self.thread = threading.Thread(target=self.poll, daemon=True)
        self.thread.start()

    def on_partitions_revoked(self, revoked):
        self.forget(revoked)

    def on_partitions_assigned(self, assigned):
        pass

    def forget(self, gone):
        with self.changed:
            self.records = [one for one in self.records if TopicPartition(one["topic"], one["partition"]) not in gone]
            for one in gone:
                self.taken.pop(one, None)

    def poll(self):
        try:
            while not self.is_leaving:
                while not self.commands.empty():
                    self.commands.get()()
                # Long: one that runs out while a rebalance comes to its end may leave the member without its partitions.
                found = self.consumer.poll(timeout_ms=730)
                with self.changed:
                    for records in found.values():
                        self.records += [plain(one) for one in records]
                    self.partitions = set(self.consumer.assignment())
                    self.changed.notify_all()
            self.consumer.close()
        except Exception as error:
            with self.changed:
                self.failure = error
                self.changed.notify_all()

    def wait_for(self, is_so, what):
        if not self.changed.wait_for(lambda: self.failure is not None or is_so(), WAIT_S):
            raise TimeoutError(f"still waiting for {what}: {self.partitions}, {len(self.records)} records")
        if self.failure is not None:
            raise self.failure

    def assigned(self, count):
        with self.changed:
            self.wait_for(lambda: len(self.partitions) == count, f"{count} partitions")
            return sorted(f"{one.topic}-{one.partition}" for one in self.partitions)

    def take(self, count):
        with self.changed:
            self.wait_for(lambda: len(self.records) >= count, f"{count} records")
            some, self.records = self.records[:count], self.records[count:]
            for one in some:
                self.taken[TopicPartition(one["topic"], one["partition"])] = one["offset"] + 1
            return some

    def run(self, work):
        done = Future()

        def command():
            try:
                done.set_result(work())
            except Exception as error:
                done.set_exception(error)

        self.commands.put(command)
        return done.result(WAIT_S)

    def commit(self):
        with self.changed:
            offsets = {one: OffsetAndMetadata(offset, "", -1) for one, offset in self.taken.items()}
        self.run(lambda: self.consumer.commit(offsets))

    def seek(self, topic, partition, offset):
        one = TopicPartition(topic, partition)

        def work():
            self.consumer.seek(one, offset)
            self.forget({one})

        self.run(work)

    def leave(self):
        self.is_leaving = True
        self.thread.join()


class Load:
    """An idempotent producer that writes until it is told to end."""

    def __init__(self, name, topic):
        self.name = name
        self.topic = topic
        self.acknowledged = []
        self.failed = []
        self.changed = threading.Condition()
        self.is_ending = False
        self.producer = KafkaProducer(
            bootstrap_servers=BROKERS,
            enable_idempotence=True,
            acks="all",
            linger_ms=5,
            request_timeout_ms=5000,
            delivery_timeout_ms=60000,
            metadata_max_age_ms=2000,
        )
        self.thread = threading.Thread(target=self.write, daemon=True)
        self.thread.start()

    def write(self):
        number = 0
        slots = threading.Semaphore(20)
        while not self.is_ending:
            slots.acquire()
            # What is written is read again: no more than a moment's worth.
            time.sleep(0.002)
            value = f"{self.name}:{number}"
            number += 1
            sending = self.producer.send(self.topic, value=value.encode(), partition=0)
            sending.add_callback(self.one, self.acknowledged, value, slots)
            sending.add_errback(self.one, self.failed, value, slots)
        self.producer.close()

    def one(self, kind, value, slots, outcome):
        with self.changed:
            kind.append([value, repr(outcome) if kind is self.failed else outcome.offset])
            self.changed.notify_all()
        slots.release()

    def more(self, count):
        with self.changed:
            goal = len(self.acknowledged) + count
            if not self.changed.wait_for(lambda: len(self.acknowledged) >= goal, 2 * WAIT_S):
                raise TimeoutError(f"only {len(self.acknowledged)} of {goal}, failed {self.failed[:3]}")
            return len(self.acknowledged)

    def end(self):
        self.is_ending = True
        self.thread.join()
        return {"acknowledged": self.acknowledged, "failed": self.failed}


def join(member, **how):
    members[member] = Member(member, **how)


def load(name, topic):
    loads[name] = Load(name, topic)


def administered(work):
    """A verb that is given an admin client."""

    def verb(**ask):
        admin = KafkaAdminClient(bootstrap_servers=BROKERS)
        try:
            return work(admin, **ask)
        finally:
            admin.close()

    return verb


def offsets(admin, topic, partition, at):
    words = {"earliest": OffsetSpec.EARLIEST, "latest": OffsetSpec.LATEST, "max-timestamp": OffsetSpec.MAX_TIMESTAMP}
    one = TopicPartition(topic, partition)
    found = admin.list_partition_offsets({one: words.get(at, at)})[one]
    return -1 if found is None else found.offset


def create_topics(admin, topics):
    for one in topics:
        wish = {"configs": one.get("configs", {})}
        if one.get("assignments"):
            wish["assignments"] = dict(enumerate(one["assignments"]))
        else:
            wish["num_partitions"] = one["partitions"]
        admin.create_topics({one["topic"]: wish})


def describe_topic(admin, topic):
    (found,) = admin.describe_topics([topic])
    rows = [
        {
            "partition": one["partition_index"],
            "leader": one["leader_id"],
            "replicas": one["replica_nodes"],
            "isr": one["isr_nodes"],
        }
        for one in found["partitions"]
    ]
    return sorted(rows, key=lambda one: one["partition"])


def describe_configs(admin, **which):
    kind, name = ("broker", str(which["broker"])) if "broker" in which else ("topic", which["topic"])
    found = admin.describe_configs([ConfigResource(kind, name)], config_filter="all")
    return {key: entry["value"] for key, entry in found[kind][name].items()}


def alter_configs(admin, topic, set, remove=()):
    changes = {**{name: ("set", value) for name, value in set.items()}, **{name: ("delete", None) for name in remove}}
    admin.alter_configs([ConfigResource("topic", topic, changes)])


def describe_cluster(admin):
    found = admin.describe_cluster()
    nodes = [{"id": one["broker_id"], "address": f"{one['host']}:{one['port']}"} for one in found["brokers"]]
    return {"cluster": found["cluster_id"], "controller": found["controller_id"], "nodes": nodes}


def describe_group(admin, group):
    found = admin.describe_groups([group])[group]
    return {
        "state": found["group_state"].upper(),
        "assignor": found["protocol_data"],
        "members": [
            {
                "clientId": one["client_id"],
                "partitions": sorted(
                    f"{share['topic']}-{partition}"
                    for share in one["member_assignment"]["assigned_partitions"]
                    for partition in share["partitions"]
                ),
            }
            for one in found["members"]
        ],
    }


def group_offsets(admin, group):
    found = admin.list_group_offsets({group: None})[group]
    return {f"{one.topic}-{one.partition}": at.offset for one, at in found.items()}


def checked(errors):
    for error in errors.values():
        if error is not None and error is not for_code(0):
            raise error()


def alter_group_offsets(admin, group, topic, partition, offset):
    checked(admin.alter_group_offsets(group, {TopicPartition(topic, partition): OffsetAndMetadata(offset, "", -1)}))


def delete_group_offsets(admin, group, topic, partition):
    checked(admin.delete_group_offsets(group, [TopicPartition(topic, partition)]))


def delete_groups(admin, groups):
    for group, said in admin.delete_groups(groups).items():
        if said != "OK":
            raise RuntimeError(f"{group}: {said}")


def delete_records(admin, topic, partition, before):
    one = TopicPartition(topic, partition)
    return admin.delete_records({one: before})[one]["low_watermark"]


def log_dirs(admin, broker):
    (found,) = admin.describe_log_dirs(brokers=[broker])
    return {
        f"{topic['name']}-{one['partition_index']}": one["partition_size"]
        for folder in found["log_dirs"]
        for topic in folder["topics"]
        for one in topic["partitions"]
    }


def elect_leaders(admin, topic, partition):
    found = admin.elect_leaders(0, {topic: [partition]}, raise_errors=False)
    code = found.replica_election_results[0].partition_result[0].error_code
    return None if code == 0 else "ELECTION_NOT_NEEDED" if code == 84 else for_code(code).__name__


def reassign(admin, topic, partition, replicas):
    checked(admin.alter_partition_reassignments({TopicPartition(topic, partition): replicas}))


def reassignments(admin):
    found = admin.list_partition_reassignments()
    return {f"{one.topic}-{one.partition}": move["adding_replicas"] for one, move in found.items()}


def producers(admin, topic, partition):
    one = TopicPartition(topic, partition)
    found = admin.describe_producers([one])[one].active_producers
    return [{"id": p.producer_id, "epoch": p.producer_epoch, "lastSequence": p.last_sequence} for p in found]


def transact():
    producer = KafkaProducer(bootstrap_servers=BROKERS, transactional_id="transactions")
    try:
        producer.init_transactions()
    finally:
        producer.close(0)


serve(
    {
        "version": lambda: kafka.__version__,
        "produce": produce,
        "read": read,
        "offsets": administered(offsets),
        "join": join,
        "assigned": lambda member, count: members[member].assigned(count),
        "take": lambda member, count: members[member].take(count),
        "commit": lambda member: members[member].commit(),
        "seek": lambda member, **to: members[member].seek(**to),
        "leave": lambda member: members.pop(member).leave(),
        "load": load,
        "loaded": lambda name, count: loads[name].more(count),
        "endLoad": lambda name: loads.pop(name).end(),
        "transact": transact,
        "createTopics": administered(create_topics),
        "listTopics": administered(lambda admin: admin.list_topics()),
        "describeTopic": administered(describe_topic),
        "createPartitions": administered(lambda admin, topic, total: admin.create_partitions({topic: total}) and None),
        "deleteTopics": administered(lambda admin, topics: admin.delete_topics(topics) and None),
        "describeConfigs": administered(describe_configs),
        "alterConfigs": administered(alter_configs),
        "describeCluster": administered(describe_cluster),
        "listGroups": administered(lambda admin: [one["group_id"] for one in admin.list_groups()]),
        "describeGroup": administered(describe_group),
        "deleteGroups": administered(delete_groups),
        "groupOffsets": administered(group_offsets),
        "alterGroupOffsets": administered(alter_group_offsets),
        "deleteGroupOffsets": administered(delete_group_offsets),
        "deleteRecords": administered(delete_records),
        "logDirs": administered(log_dirs),
        "electLeaders": administered(elect_leaders),
        "reassign": administered(reassign),
        "reassignments": administered(reassignments),
        "producers": administered(producers),
    }
)
