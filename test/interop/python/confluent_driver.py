# confluent-kafka, which is librdkafka, behind the verbs of foreign-client.ts. Started with: BROKERS.

import queue
import sys
import threading
import time
import uuid

import confluent_kafka
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka import ConsumerGroupTopicPartitions, ElectionType
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)
from driver import WAIT_S, raw, serve, text

BROKERS = sys.argv[1]
admin = AdminClient({"bootstrap.servers": BROKERS})
members = {}
loads = {}


def consumer_config(group):
    return {
        "bootstrap.servers": BROKERS,
        "group.id": group,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": 200,
        "check.crcs": True,
    }


def plain(message):
    return {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "timestamp": message.timestamp()[1],
        "key": text(message.key()),
        "value": text(message.value()),
        "headers": [[name, text(value)] for name, value in message.headers() or []],
    }


def produce(topic, codec, idempotent, records):
    failed = []
    producer = Producer(
        {
            "bootstrap.servers": BROKERS,
            "compression.type": codec,
            "enable.idempotence": idempotent,
            "linger.ms": 50,
        }
    )
    for record in records:
        where = {} if record.get("partition") is None else {"partition": record["partition"]}
        producer.produce(
            topic,
            value=raw(record["value"]),
            key=raw(record["key"]),
            timestamp=record["timestamp"],
            headers=[(name, raw(value)) for name, value in record["headers"]],
            on_delivery=lambda error, _: failed.append(str(error)) if error else None,
            **where,
        )
    left = producer.flush(WAIT_S)
    if left or failed:
        raise RuntimeError(f"{left} not delivered, {failed}")


def read(topic, partition, count, **start):
    consumer = Consumer(consumer_config(f"reads-{uuid.uuid4()}"))
    found = []
    consumer.assign([TopicPartition(topic, partition, start["from"])])
    deadline = time.monotonic() + WAIT_S
    while len(found) < count and time.monotonic() < deadline:
        for message in consumer.consume(count - len(found), 0.2):
            if message.error():
                raise KafkaException(message.error())
            found.append(plain(message))
    consumer.close()
    return found


def offsets(topic, partition, at):
    one = TopicPartition(topic, partition)
    spec = {"earliest": OffsetSpec.earliest, "latest": OffsetSpec.latest, "max-timestamp": OffsetSpec.max_timestamp}
    wish = spec[at]() if isinstance(at, str) else OffsetSpec.for_timestamp(at)
    return admin.list_offsets({one: wish})[one].result().offset


class Member:
    """A consumer and the only thread that touches it."""

    def __init__(self, member, group, topics, assignor):
        config = consumer_config(group)
        config["client.id"] = member
        config["session.timeout.ms"] = 6000
        config["heartbeat.interval.ms"] = 500
        config["partition.assignment.strategy"] = assignor
        self.consumer = Consumer(config)
        self.changed = threading.Condition()
        self.records = []
        self.taken = {}
        self.partitions = set()
        self.commands = queue.Queue()
        self.failure = None
        self.is_leaving = False
        self.consumer.subscribe(topics, on_revoke=lambda _, gone: self.forget(gone))
        self.thread = threading.Thread(target=self.poll, daemon=True)
        self.thread.start()

    def forget(self, partitions):
        gone = {(one.topic, one.partition) for one in partitions}
        with self.changed:
            self.records = [one for one in self.records if (one["topic"], one["partition"]) not in gone]
            for one in gone:
                self.taken.pop(one, None)

    def poll(self):
        try:
            while not self.is_leaving:
                while not self.commands.empty():
                    self.commands.get()()
                messages = self.consumer.consume(500, 0.1)
                with self.changed:
                    # An error that is told to the application is one that it can do nothing about but wait.
                    self.records += [plain(one) for one in messages if not one.error()]
                    self.partitions = {f"{one.topic}-{one.partition}" for one in self.consumer.assignment()}
                    self.changed.notify_all()
            self.consumer.close()
        except BaseException as error:
            with self.changed:
                self.failure = error
                self.changed.notify_all()

    def wait_for(self, is_so, what):
        done = self.changed.wait_for(lambda: self.failure is not None or is_so(), WAIT_S)
        if self.failure is not None:
            raise self.failure
        if not done:
            raise TimeoutError(f"still waiting for {what}: {self.partitions}, {len(self.records)} records")

    def assigned(self, count):
        with self.changed:
            self.wait_for(lambda: len(self.partitions) == count, f"{count} partitions")
            return sorted(self.partitions)

    def take(self, count):
        with self.changed:
            self.wait_for(lambda: len(self.records) >= count, f"{count} records")
            some, self.records = self.records[:count], self.records[count:]
            for one in some:
                self.taken[(one["topic"], one["partition"])] = one["offset"] + 1
            return some

    def run(self, work):
        done = threading.Event()
        outcome = []

        def command():
            try:
                outcome.append((work(), None))
            except BaseException as error:
                outcome.append((None, error))
            done.set()

        self.commands.put(command)
        if not done.wait(WAIT_S):
            raise TimeoutError("the member does not poll")
        result, error = outcome[0]
        if error:
            raise error
        return result

    def commit(self):
        with self.changed:
            offsets = [TopicPartition(topic, partition, at) for (topic, partition), at in self.taken.items()]
        for one in self.consumer.commit(offsets=offsets, asynchronous=False):
            if one.error:
                raise KafkaException(one.error)

    def seek(self, topic, partition, offset):
        self.consumer.seek(TopicPartition(topic, partition, offset))
        self.forget([TopicPartition(topic, partition)])

    def leave(self):
        self.is_leaving = True
        self.thread.join(WAIT_S)


class Load:
    """An idempotent producer that writes until it is told to end."""

    def __init__(self, name, topic):
        self.acknowledged = []
        self.failed = []
        self.changed = threading.Condition()
        self.in_flight = 0
        self.is_ending = False
        self.producer = Producer(
            {
                "bootstrap.servers": BROKERS,
                "enable.idempotence": True,
                "message.timeout.ms": 60000,
                "socket.timeout.ms": 3000,
                "linger.ms": 5,
            }
        )
        self.thread = threading.Thread(target=self.write, args=(name, topic), daemon=True)
        self.thread.start()

    def write(self, name, topic):
        number = 0
        while not self.is_ending:
            while self.in_flight >= 20:
                self.producer.poll(0.1)
            self.in_flight += 1
            value = f"{name}:{number}"
            number += 1
            self.producer.produce(topic, value=value, partition=0, on_delivery=self.on_delivery)
            self.producer.poll(0)
            # What is written is read again: no more than a moment's worth.
            time.sleep(0.002)
        self.producer.flush(60)

    def on_delivery(self, error, message):
        with self.changed:
            self.in_flight -= 1
            value = message.value().decode()
            if error:
                self.failed.append([value, str(error)])
            else:
                self.acknowledged.append([value, message.offset()])
            self.changed.notify_all()

    def more(self, count):
        with self.changed:
            goal = len(self.acknowledged) + count
            if not self.changed.wait_for(lambda: len(self.acknowledged) >= goal, 2 * WAIT_S):
                raise TimeoutError(f"only {len(self.acknowledged)} of {goal}, failed {self.failed}")
            return len(self.acknowledged)

    def end(self):
        self.is_ending = True
        self.thread.join()
        return {"acknowledged": self.acknowledged, "failed": self.failed}


def results(futures):
    return {key: future.result() for key, future in futures.items()}


def create_topics(topics):
    wishes = []
    for one in topics:
        assignments = one.get("assignments")
        if assignments:
            how = {"num_partitions": len(assignments), "replica_assignment": assignments}
        else:
            how = {"num_partitions": one["partitions"]}
        wishes.append(NewTopic(one["topic"], config=one.get("configs", {}), **how))
    results(admin.create_topics(wishes))


def describe_topic(topic):
    found = admin.describe_topics(confluent_kafka.TopicCollection([topic]))[topic].result()
    return [
        {
            "partition": one.id,
            "leader": one.leader.id if one.leader else -1,
            "replicas": [node.id for node in one.replicas],
            "isr": [node.id for node in one.isr],
        }
        for one in found.partitions
    ]


def resource(topic=None, broker=None):
    if broker is not None:
        return ConfigResource(ResourceType.BROKER, str(broker))
    return ConfigResource(ResourceType.TOPIC, topic)


def describe_configs(**which):
    (found,) = results(admin.describe_configs([resource(**which)])).values()
    return {name: entry.value for name, entry in found.items()}


def alter_configs(set=None, remove=(), **which):
    operation = AlterConfigOpType
    changes = [ConfigEntry(name, value, incremental_operation=operation.SET) for name, value in (set or {}).items()]
    changes += [ConfigEntry(name, None, incremental_operation=operation.DELETE) for name in remove]
    one = resource(**which)
    for change in changes:
        one.add_incremental_config(change)
    results(admin.incremental_alter_configs([one]))


def replace_configs(configs, **which):
    one = resource(**which)
    for name, value in configs.items():
        one.set_config(name, value)
    results(admin.alter_configs([one]))


def describe_cluster():
    found = admin.describe_cluster().result()
    nodes = [{"id": one.id, "address": f"{one.host}:{one.port}"} for one in found.nodes]
    return {"cluster": found.cluster_id, "controller": found.controller.id, "nodes": nodes}


def list_groups():
    found = admin.list_consumer_groups().result()
    if found.errors:
        raise found.errors[0]
    return sorted(one.group_id for one in found.valid)


def describe_group(group):
    found = admin.describe_consumer_groups([group])[group].result()
    return {
        "state": found.state.name,
        "assignor": found.partition_assignor,
        "members": [
            {
                "clientId": one.client_id,
                "partitions": sorted(f"{at.topic}-{at.partition}" for at in one.assignment.topic_partitions),
            }
            for one in found.members
        ],
    }


def group_offsets(group):
    found = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result()
    return {f"{one.topic}-{one.partition}": one.offset for one in found.topic_partitions}


def alter_group_offsets(group, topic, partition, offset):
    wish = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, partition, offset)])
    for one in admin.alter_consumer_group_offsets([wish])[group].result().topic_partitions:
        if one.error:
            raise KafkaException(one.error)


def delete_records(topic, partition, before):
    one = TopicPartition(topic, partition, before)
    return results(admin.delete_records([one]))[one].low_watermark


def elect_leaders(topic, partition):
    one = TopicPartition(topic, partition)
    error = admin.elect_leaders(ElectionType.PREFERRED, [one]).result()[one]
    return None if error is None else error.name()


serve(
    {
        "version": lambda: f"{confluent_kafka.__version__}, librdkafka {confluent_kafka.libversion()[0]}",
        "produce": produce,
        "read": read,
        "offsets": offsets,
        "join": lambda member, **how: members.update({member: Member(member, **how)}),
        "assigned": lambda member, count: members[member].assigned(count),
        "take": lambda member, count: members[member].take(count),
        "commit": lambda member: members[member].run(members[member].commit),
        "seek": lambda member, **to: members[member].run(lambda: members[member].seek(**to)),
        "leave": lambda member: members.pop(member).leave(),
        "load": lambda name, topic: loads.update({name: Load(name, topic)}),
        "loaded": lambda name, count: loads[name].more(count),
        "endLoad": lambda name: loads.pop(name).end(),
        "createTopics": create_topics,
        "listTopics": lambda: sorted(admin.list_topics(timeout=10).topics),
        "describeTopic": describe_topic,
        "createPartitions": lambda topic, total: results(
            admin.create_partitions([NewPartitions(topic, total)])
        ).clear(),
        "deleteTopics": lambda topics: results(admin.delete_topics(topics)).clear(),
        "describeConfigs": describe_configs,
        "alterConfigs": alter_configs,
        "replaceConfigs": replace_configs,
        "describeCluster": describe_cluster,
        "listGroups": list_groups,
        "describeGroup": describe_group,
        "deleteGroups": lambda groups: results(admin.delete_consumer_groups(groups)).clear(),
        "groupOffsets": group_offsets,
        "alterGroupOffsets": alter_group_offsets,
        "deleteRecords": delete_records,
        "electLeaders": elect_leaders,
    }
)
