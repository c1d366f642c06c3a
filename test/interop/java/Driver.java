// Kafka's own Java client and its console tools, driven by lines of JSON: {id, verb, ...} in, {id, result} or {id, error}
// out. What the verbs mean is said in foreign-client.ts. Started from its source: java -cp 'jars/*' Driver.java BROKERS.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Semaphore;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.Exit;

public class Driver {
  static final ObjectMapper JSON = new ObjectMapper();
  static final long WAIT_MS = 25_000;
  /** What is printed: the answers of this driver go past it. */
  static final ByteArrayOutputStream SAID = new ByteArrayOutputStream();
  static final ByteArrayOutputStream COMPLAINED = new ByteArrayOutputStream();
  static String brokers;
  static Admin admin;
  static final Map<String, Member> members = new ConcurrentHashMap<>();
  static final Map<String, Load> loads = new ConcurrentHashMap<>();

  public static void main(String[] args) throws Exception {
    brokers = args[0];
    PrintStream out = System.out;
    // Once and for all: the tools of Scala keep the stream that was there when they were loaded.
    System.setOut(new PrintStream(SAID, true, StandardCharsets.UTF_8));
    System.setErr(new PrintStream(COMPLAINED, true, StandardCharsets.UTF_8));
    Properties config = new Properties();
    config.put("bootstrap.servers", brokers);
    config.put("default.api.timeout.ms", "20000");
    config.put("request.timeout.ms", "10000");
    admin = Admin.create(config);
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      JsonNode request = JSON.readTree(line);
      Thread thread = new Thread(() -> {
        Map<String, Object> answer = new LinkedHashMap<>();
        answer.put("id", request.get("id").asInt());
        try {
          answer.put("result", answer(request));
        } catch (Throwable thrown) {
          Throwable cause = thrown instanceof ExecutionException ? thrown.getCause() : thrown;
          answer.put("error", cause.getClass().getSimpleName() + ": " + cause.getMessage());
        }
        try {
          String text = JSON.writeValueAsString(answer);
          synchronized (out) {
            out.println(text);
            out.flush();
          }
        } catch (Exception impossible) {
          impossible.printStackTrace();
        }
      });
      thread.setDaemon(true);
      thread.start();
    }
    Runtime.getRuntime().halt(0);
  }

  static Object answer(JsonNode ask) throws Exception {
    switch (ask.get("verb").asText()) {
      case "version": return org.apache.kafka.common.utils.AppInfoParser.getVersion();
      case "produce": return produce(ask);
      case "read": return read(ask);
      case "offsets": return offset(ask);
      case "join": members.put(ask.get("member").asText(), new Member(ask)); return null;
      case "assigned": return member(ask).assigned(ask.get("count").asInt());
      case "take": return member(ask).take(ask.get("count").asInt());
      case "commit": return member(ask).run(Member::commit);
      case "seek": return member(ask).run(one -> one.seek(partitionOf(ask), ask.get("offset").asLong()));
      case "leave": return members.remove(ask.get("member").asText()).leave();
      case "load": loads.put(ask.get("name").asText(), new Load(ask)); return null;
      case "loaded": return loads.get(ask.get("name").asText()).more(ask.get("count").asInt());
      case "endLoad": return loads.remove(ask.get("name").asText()).end();
      case "tool": return tool(ask);
      case "transact": return transact();
      case "joinNewer": return joinNewer(ask);
      default: return administer(ask);
    }
  }

  static Object administer(JsonNode ask) throws Exception {
    switch (ask.get("verb").asText()) {
      case "createTopics": return createTopics(ask);
      case "listTopics": return new TreeSet<>(admin.listTopics().names().get());
      case "describeTopic": return describeTopic(ask);
      case "createPartitions":
        admin.createPartitions(Map.of(topicOf(ask), NewPartitions.increaseTo(ask.get("total").asInt()))).all().get();
        return null;
      case "deleteTopics": admin.deleteTopics(strings(ask.get("topics"))).all().get(); return null;
      case "describeConfigs": return describeConfigs(ask);
      case "alterConfigs": return alterConfigs(ask);
      case "replaceConfigs": throw new UnsupportedOperationException("gone from this client");
      case "describeCluster": return describeCluster();
      case "listGroups": return listGroups();
      case "describeGroup": return describeGroup(ask);
      case "deleteGroups": admin.deleteConsumerGroups(strings(ask.get("groups"))).all().get(); return null;
      case "groupOffsets": return groupOffsets(ask);
      case "alterGroupOffsets": {
        OffsetAndMetadata offset = new OffsetAndMetadata(ask.get("offset").asLong());
        admin.alterConsumerGroupOffsets(groupOf(ask), Map.of(partitionOf(ask), offset)).all().get();
        return null;
      }
      case "deleteGroupOffsets":
        admin.deleteConsumerGroupOffsets(groupOf(ask), Set.of(partitionOf(ask))).all().get();
        return null;
      case "deleteRecords": {
        RecordsToDelete before = RecordsToDelete.beforeOffset(ask.get("before").asLong());
        return admin.deleteRecords(Map.of(partitionOf(ask), before)).lowWatermarks().get(partitionOf(ask)).get()
            .lowWatermark();
      }
      case "logDirs": return logDirs(ask);
      case "electLeaders": {
        var outcome = admin.electLeaders(ElectionType.PREFERRED, Set.of(partitionOf(ask))).partitions().get();
        return outcome.get(partitionOf(ask)).map(error -> error.getClass().getSimpleName()).orElse(null);
      }
      case "reassign": {
        JsonNode replicas = ask.get("replicas");
        Optional<NewPartitionReassignment> to =
            replicas == null || replicas.isNull()
                ? Optional.empty()
                : Optional.of(new NewPartitionReassignment(ints(replicas)));
        admin.alterPartitionReassignments(Map.of(partitionOf(ask), to)).all().get();
        return null;
      }
      case "reassignments": {
        Map<String, Object> found = new TreeMap<>();
        admin.listPartitionReassignments().reassignments().get()
            .forEach((partition, state) -> found.put(partition.toString(), state.addingReplicas()));
        return found;
      }
      case "producers": {
        List<Object> found = new ArrayList<>();
        admin.describeProducers(Set.of(partitionOf(ask))).partitionResult(partitionOf(ask)).get().activeProducers()
            .forEach(one -> found.add(Map.of("id", one.producerId(), "epoch", one.producerEpoch(),
                "lastSequence", one.lastSequence())));
        return found;
      }
      default: throw new UnsupportedOperationException("there is no verb " + ask.get("verb").asText());
    }
  }

  // ---- records

  static Object produce(JsonNode ask) throws Exception {
    Map<String, Object> config = new HashMap<>();
    config.put("bootstrap.servers", brokers);
    config.put("compression.type", ask.get("codec").asText());
    config.put("enable.idempotence", ask.get("idempotent").asBoolean());
    config.put("linger.ms", "50");
    try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
      List<java.util.concurrent.Future<?>> sends = new ArrayList<>();
      for (JsonNode record : ask.get("records")) {
        List<Header> headers = new ArrayList<>();
        for (JsonNode header : record.get("headers")) {
          headers.add(new RecordHeader(header.get(0).asText(), bytes(header.get(1))));
        }
        JsonNode partition = record.get("partition");
        Integer where = partition == null || partition.isNull() ? null : partition.asInt();
        Long when = record.get("timestamp").asLong();
        byte[] key = bytes(record.get("key"));
        sends.add(producer.send(new ProducerRecord<>(topicOf(ask), where, when, key, bytes(record.get("value")), headers)));
      }
      for (var send : sends) send.get();
    }
    return null;
  }

  static Object read(JsonNode ask) throws Exception {
    Map<String, Object> config = consumerConfig(null);
    List<Object> found = new ArrayList<>();
    int count = ask.get("count").asInt();
    try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      TopicPartition partition = partitionOf(ask);
      consumer.assign(List.of(partition));
      consumer.seek(partition, ask.get("from").asLong());
      long deadline = System.currentTimeMillis() + WAIT_MS;
      while (found.size() < count && System.currentTimeMillis() < deadline) {
        for (var record : consumer.poll(Duration.ofMillis(200))) found.add(plain(record));
      }
    }
    return found.subList(0, Math.min(count, found.size()));
  }

  static Object offset(JsonNode ask) throws Exception {
    JsonNode at = ask.get("at");
    OffsetSpec spec =
        at.isNumber() ? OffsetSpec.forTimestamp(at.asLong())
            : at.asText().equals("earliest") ? OffsetSpec.earliest()
            : at.asText().equals("latest") ? OffsetSpec.latest() : OffsetSpec.maxTimestamp();
    return admin.listOffsets(Map.of(partitionOf(ask), spec)).partitionResult(partitionOf(ask)).get().offset();
  }

  static Object transact() {
    Map<String, Object> config = new HashMap<>();
    config.put("bootstrap.servers", brokers);
    config.put("transactional.id", "transactions");
    try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
      producer.initTransactions();
    }
    return null;
  }

  static Object joinNewer(JsonNode ask) {
    Map<String, Object> config = consumerConfig(groupOf(ask));
    config.put("group.protocol", "consumer");
    try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      consumer.subscribe(List.of(topicOf(ask)));
      long deadline = System.currentTimeMillis() + WAIT_MS;
      while (System.currentTimeMillis() < deadline) consumer.poll(Duration.ofMillis(200));
    }
    return null;
  }

  static Map<String, Object> consumerConfig(String group) {
    Map<String, Object> config = new HashMap<>();
    config.put("bootstrap.servers", brokers);
    config.put("enable.auto.commit", "false");
    config.put("auto.offset.reset", "earliest");
    config.put("fetch.max.wait.ms", "200");
    config.put("isolation.level", "read_committed");
    if (group != null) config.put("group.id", group);
    return config;
  }

  static Map<String, Object> plain(ConsumerRecord<byte[], byte[]> record) {
    List<Object> headers = new ArrayList<>();
    for (Header header : record.headers()) {
      List<String> pair = new ArrayList<>();
      pair.add(header.key());
      pair.add(text(header.value()));
      headers.add(pair);
    }
    Map<String, Object> plain = new HashMap<>();
    plain.put("topic", record.topic());
    plain.put("partition", record.partition());
    plain.put("offset", record.offset());
    plain.put("timestamp", record.timestamp());
    plain.put("key", text(record.key()));
    plain.put("value", text(record.value()));
    plain.put("headers", headers);
    return plain;
  }

  // ---- groups

  interface Work {
    Object on(Member member) throws Exception;
  }

  /** A consumer and the only thread that touches it. */
  static class Member {
    final KafkaConsumer<byte[], byte[]> consumer;
    final ConcurrentLinkedQueue<Runnable> commands = new ConcurrentLinkedQueue<>();
    final ArrayDeque<ConsumerRecord<byte[], byte[]>> queue = new ArrayDeque<>();
    final Map<TopicPartition, OffsetAndMetadata> taken = new HashMap<>();
    Set<TopicPartition> partitions = Set.of();
    Throwable failure;
    boolean isLeaving;
    final Thread thread = new Thread(this::poll);

    Member(JsonNode ask) {
      Map<String, Object> config = consumerConfig(groupOf(ask));
      config.put("client.id", ask.get("member").asText());
      config.put("session.timeout.ms", "6000");
      config.put("heartbeat.interval.ms", "500");
      config.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer."
          + (ask.get("assignor").asText().equals("range") ? "RangeAssignor" : "CooperativeStickyAssignor"));
      consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
      consumer.subscribe(strings(ask.get("topics")), new ConsumerRebalanceListener() {
        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> gone) {
          forget(gone);
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> given) {}
      });
      thread.setDaemon(true);
      thread.start();
    }

    synchronized void forget(Collection<TopicPartition> gone) {
      queue.removeIf(record -> gone.contains(new TopicPartition(record.topic(), record.partition())));
      gone.forEach(taken::remove);
    }

    void poll() {
      try {
        while (!isLeaving) {
          for (Runnable command = commands.poll(); command != null; command = commands.poll()) command.run();
          var records = consumer.poll(Duration.ofMillis(100));
          synchronized (this) {
            records.forEach(queue::add);
            partitions = Set.copyOf(consumer.assignment());
            notifyAll();
          }
        }
        consumer.close();
      } catch (Throwable thrown) {
        synchronized (this) {
          failure = thrown;
          notifyAll();
        }
      }
    }

    synchronized Object assigned(int count) throws Exception {
      await(() -> partitions.size() == count, "partitions, has " + partitions);
      return new TreeSet<>(partitions.stream().map(TopicPartition::toString).toList());
    }

    synchronized Object take(int count) throws Exception {
      await(() -> queue.size() >= count, "records");
      List<Object> some = new ArrayList<>();
      while (some.size() < count) {
        var record = queue.remove();
        some.add(plain(record));
        taken.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
      }
      return some;
    }

    void await(java.util.function.BooleanSupplier isSo, String what) throws Exception {
      long deadline = System.currentTimeMillis() + WAIT_MS;
      while (!isSo.getAsBoolean()) {
        if (failure != null) throw new IllegalStateException("the member failed: " + failure, failure);
        long left = deadline - System.currentTimeMillis();
        if (left <= 0) throw new IllegalStateException("still waiting for " + what + " with " + queue.size() + " records");
        wait(left);
      }
    }

    Object run(Work work) throws Exception {
      CompletableFuture<Object> done = new CompletableFuture<>();
      commands.add(() -> {
        try {
          done.complete(work.on(this));
        } catch (Throwable thrown) {
          done.completeExceptionally(thrown);
        }
      });
      return done.get();
    }

    Object commit() {
      Map<TopicPartition, OffsetAndMetadata> offsets;
      synchronized (this) {
        offsets = Map.copyOf(taken);
      }
      consumer.commitSync(offsets);
      return null;
    }

    Object seek(TopicPartition partition, long offset) {
      consumer.seek(partition, offset);
      forget(List.of(partition));
      return null;
    }

    Object leave() throws Exception {
      isLeaving = true;
      thread.join();
      return null;
    }
  }

  // ---- a producer under load

  static class Load {
    final List<Object> acknowledged = new ArrayList<>();
    final List<Object> failed = new ArrayList<>();
    final Semaphore inFlight = new Semaphore(20);
    final KafkaProducer<byte[], byte[]> producer;
    volatile boolean isEnding;
    final Thread thread;

    Load(JsonNode ask) {
      Map<String, Object> config = new HashMap<>();
      config.put("bootstrap.servers", brokers);
      config.put("enable.idempotence", "true");
      config.put("delivery.timeout.ms", "60000");
      config.put("request.timeout.ms", "3000");
      producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
      String name = ask.get("name").asText();
      String topic = topicOf(ask);
      thread = new Thread(() -> {
        for (int number = 0; !isEnding; number += 1) {
          inFlight.acquireUninterruptibly();
          // What is written is read again: no more than a moment's worth.
          java.util.concurrent.locks.LockSupport.parkNanos(2_000_000);
          String value = name + ":" + number;
          producer.send(new ProducerRecord<>(topic, 0, null, value.getBytes(StandardCharsets.UTF_8)), (at, error) -> {
            synchronized (this) {
              if (error == null) acknowledged.add(List.of(value, at.offset()));
              else failed.add(List.of(value, error.toString()));
              notifyAll();
            }
            inFlight.release();
          });
        }
        producer.close();
      });
      thread.setDaemon(true);
      thread.start();
    }

    synchronized Object more(int count) throws Exception {
      int goal = acknowledged.size() + count;
      long deadline = System.currentTimeMillis() + 2 * WAIT_MS;
      while (acknowledged.size() < goal) {
        long left = deadline - System.currentTimeMillis();
        if (left <= 0) throw new IllegalStateException("only " + acknowledged.size() + " of " + goal + ": " + failed);
        wait(left);
      }
      return acknowledged.size();
    }

    Object end() throws Exception {
      isEnding = true;
      thread.join();
      return Map.of("acknowledged", acknowledged, "failed", failed);
    }
  }

  // ---- administration

  static Object createTopics(JsonNode ask) throws Exception {
    List<NewTopic> topics = new ArrayList<>();
    for (JsonNode one : ask.get("topics")) {
      NewTopic topic;
      if (one.has("assignments")) {
        Map<Integer, List<Integer>> replicas = new HashMap<>();
        for (JsonNode row : one.get("assignments")) replicas.put(replicas.size(), ints(row));
        topic = new NewTopic(one.get("topic").asText(), replicas);
      } else {
        topic = new NewTopic(one.get("topic").asText(), Optional.of(one.get("partitions").asInt()), Optional.empty());
      }
      Map<String, String> configs = new HashMap<>();
      if (one.has("configs")) one.get("configs").fields().forEachRemaining(row -> configs.put(row.getKey(), row.getValue().asText()));
      topics.add(topic.configs(configs));
    }
    admin.createTopics(topics).all().get();
    return null;
  }

  static Object describeTopic(JsonNode ask) throws Exception {
    TopicDescription found = admin.describeTopics(List.of(topicOf(ask))).allTopicNames().get().get(topicOf(ask));
    List<Object> partitions = new ArrayList<>();
    for (var one : found.partitions()) {
      partitions.add(Map.of("partition", one.partition(), "leader", one.leader() == null ? -1 : one.leader().id(),
          "replicas", one.replicas().stream().map(Node::id).toList(), "isr", one.isr().stream().map(Node::id).toList()));
    }
    return partitions;
  }

  static Object describeConfigs(JsonNode ask) throws Exception {
    Map<String, String> found = new TreeMap<>();
    ConfigResource resource = resourceOf(ask);
    admin.describeConfigs(List.of(resource)).all().get().get(resource).entries()
        .forEach(entry -> found.put(entry.name(), entry.value()));
    return found;
  }

  static Object alterConfigs(JsonNode ask) throws Exception {
    List<AlterConfigOp> changes = new ArrayList<>();
    ask.get("set").fields().forEachRemaining(row -> changes.add(
        new AlterConfigOp(new ConfigEntry(row.getKey(), row.getValue().asText()), AlterConfigOp.OpType.SET)));
    for (String name : strings(ask.get("remove"))) {
      changes.add(new AlterConfigOp(new ConfigEntry(name, ""), AlterConfigOp.OpType.DELETE));
    }
    admin.incrementalAlterConfigs(Map.of(resourceOf(ask), changes)).all().get();
    return null;
  }

  static Object describeCluster() throws Exception {
    var cluster = admin.describeCluster();
    List<Object> nodes = new ArrayList<>();
    for (Node node : cluster.nodes().get()) {
      nodes.add(Map.of("id", node.id(), "address", node.host() + ":" + node.port()));
    }
    return Map.of("cluster", cluster.clusterId().get(), "controller", cluster.controller().get().id(), "nodes", nodes);
  }

  static Object listGroups() throws Exception {
    Set<String> found = new TreeSet<>();
    admin.listConsumerGroups().all().get().forEach(one -> found.add(one.groupId()));
    return found;
  }

  static Object describeGroup(JsonNode ask) throws Exception {
    ConsumerGroupDescription found = admin.describeConsumerGroups(List.of(groupOf(ask))).all().get().get(groupOf(ask));
    List<Object> members = new ArrayList<>();
    found.members().forEach(one -> members.add(Map.of("clientId", one.clientId(), "partitions",
        new TreeSet<>(one.assignment().topicPartitions().stream().map(TopicPartition::toString).toList()))));
    return Map.of("state", found.state().toString(), "assignor", found.partitionAssignor(), "members", members);
  }

  static Object groupOffsets(JsonNode ask) throws Exception {
    Map<String, Object> found = new TreeMap<>();
    admin.listConsumerGroupOffsets(groupOf(ask)).partitionsToOffsetAndMetadata().get()
        .forEach((partition, at) -> found.put(partition.toString(), at == null ? null : at.offset()));
    return found;
  }

  static Object logDirs(JsonNode ask) throws Exception {
    Map<String, Object> found = new TreeMap<>();
    admin.describeLogDirs(List.of(ask.get("broker").asInt())).allDescriptions().get().values()
        .forEach(dirs -> dirs.values()
            .forEach(dir -> dir.replicaInfos().forEach((partition, info) -> found.put(partition.toString(), info.size()))));
    return found;
  }

  // ---- console tools

  static final class Exited extends RuntimeException {}

  /** One at a time, because they have the standard streams of the process. */
  static synchronized Object tool(JsonNode ask) throws Exception {
    java.io.InputStream in = System.in;
    // Some catch what leaves them, and leave again with an error.
    List<Integer> codes = new ArrayList<>();
    Exit.Procedure leave = (code, message) -> {
      codes.add(code);
      throw new Exited();
    };
    SAID.reset();
    COMPLAINED.reset();
    try {
      String input = ask.has("input") ? ask.get("input").asText() : "";
      System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
      Exit.setExitProcedure(leave);
      Exit.setHaltProcedure(leave);
      String[] words = strings(ask.get("args")).toArray(new String[0]);
      Class.forName(ask.get("main").asText()).getMethod("main", String[].class).invoke(null, (Object) words);
    } catch (java.lang.reflect.InvocationTargetException thrown) {
      if (!(thrown.getCause() instanceof Exited)) throw thrown;
    } finally {
      Exit.resetExitProcedure();
      Exit.resetHaltProcedure();
      System.setIn(in);
    }
    int exit = codes.isEmpty() ? 0 : codes.get(0);
    return Map.of("exit", exit, "out", SAID.toString(StandardCharsets.UTF_8), "err",
        COMPLAINED.toString(StandardCharsets.UTF_8));
  }

  // ---- JSON

  static Member member(JsonNode ask) {
    return members.get(ask.get("member").asText());
  }

  static String topicOf(JsonNode ask) {
    return ask.get("topic").asText();
  }

  static String groupOf(JsonNode ask) {
    return ask.get("group").asText();
  }

  static TopicPartition partitionOf(JsonNode ask) {
    return new TopicPartition(topicOf(ask), ask.get("partition").asInt());
  }

  static ConfigResource resourceOf(JsonNode ask) {
    return ask.has("broker")
        ? new ConfigResource(ConfigResource.Type.BROKER, ask.get("broker").asText())
        : new ConfigResource(ConfigResource.Type.TOPIC, topicOf(ask));
  }

  static List<String> strings(JsonNode list) {
    List<String> found = new ArrayList<>();
    if (list != null) list.forEach(one -> found.add(one.asText()));
    return found;
  }

  static List<Integer> ints(JsonNode list) {
    List<Integer> found = new ArrayList<>();
    list.forEach(one -> found.add(one.asInt()));
    return found;
  }

  static byte[] bytes(JsonNode text) {
    return text == null || text.isNull() ? null : Base64.getDecoder().decode(text.asText());
  }

  static String text(byte[] bytes) {
    return bytes == null ? null : Base64.getEncoder().encodeToString(bytes);
  }
}
