// What web consoles and Spark ask a cluster for, by Kafka's own Java client: each call once, and a line of what came of it: call NAME
// and ok, or the error. Started with: BROKERS TOPIC GROUP.

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.DescribeClusterOptions;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.DescribeConsumerGroupsOptions;
import org.apache.kafka.clients.admin.DescribeTopicsOptions;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsSpec;
import org.apache.kafka.clients.admin.ListOffsetsOptions;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public class AdminCalls {
  public static void main(String[] args) throws Exception {
    String topic = args[1];
    String group = args[2];
    Properties config = new Properties();
    config.put("bootstrap.servers", args[0]);
    config.put("default.api.timeout.ms", "10000");
    config.put("request.timeout.ms", "5000");
    try (Admin admin = Admin.create(config)) {
      consoles(admin, topic, group);
      spark(admin, config, topic);
    }
  }

  static void consoles(Admin admin, String topic, String group) throws Exception {
    say("cluster", () -> {
      var found = admin.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true));
      found.authorizedOperations().get();
      return found.nodes().get().size() + " " + found.clusterId().get();
    });
    say("features", () -> admin.describeFeatures().featureMetadata().get());
    say("topics", () -> {
      Set<String> names = admin.listTopics(new ListTopicsOptions().listInternal(true)).names().get();
      var options = new DescribeTopicsOptions().includeAuthorizedOperations(true);
      return admin.describeTopics(names, options).allTopicNames().get().size();
    });
    say("topicSettings", () -> settings(admin, ConfigResource.Type.TOPIC, topic));
    say("brokerSettings", () -> settings(admin, ConfigResource.Type.BROKER, "1"));
    say("brokerLoggers", () -> settings(admin, ConfigResource.Type.BROKER_LOGGER, "1"));
    say("logDirs", () -> admin.describeLogDirs(List.of(1)).allDescriptions().get().size());
    say("groups", () -> {
      List<String> names = new ArrayList<>();
      admin.listGroups().all().get().forEach(one -> names.add(one.groupId()));
      var options = new DescribeConsumerGroupsOptions().includeAuthorizedOperations(true);
      return admin.describeConsumerGroups(names, options).all().get().size();
    });
    say("committed", () -> {
      var wish = Map.of(group, new ListConsumerGroupOffsetsSpec());
      return admin.listConsumerGroupOffsets(wish).partitionsToOffsetAndMetadata(group).get().size();
    });
    say("producers", () -> {
      TopicPartition partition = new TopicPartition(topic, 0);
      return admin.describeProducers(Set.of(partition)).partitionResult(partition).get().activeProducers().size();
    });
    say("reassignments", () -> admin.listPartitionReassignments().reassignments().get().size());
    say("accessLists", () -> admin.describeAcls(AclBindingFilter.ANY).values().get().size());
    say("quotas", () -> admin.describeClientQuotas(ClientQuotaFilter.all()).entities().get().size());
    say("users", () -> admin.describeUserScramCredentials().all().get().size());
    say("quorum", () -> admin.describeMetadataQuorum().quorumInfo().get().leaderId());
    say("transactions", () -> admin.listTransactions().all().get().size());
  }

  // The driver asks what there is and between which offsets, and the executors read that without a group.
  static void spark(Admin admin, Properties config, String topic) throws Exception {
    Map<TopicPartition, Long> starts = new HashMap<>();
    Map<TopicPartition, Long> ends = new HashMap<>();
    say("bounds", () -> {
      var found = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
      Map<TopicPartition, OffsetSpec> first = new HashMap<>();
      Map<TopicPartition, OffsetSpec> last = new HashMap<>();
      for (var one : found.partitions()) {
        first.put(new TopicPartition(topic, one.partition()), OffsetSpec.earliest());
        last.put(new TopicPartition(topic, one.partition()), OffsetSpec.latest());
      }
      var options = new ListOffsetsOptions(IsolationLevel.READ_COMMITTED);
      admin.listOffsets(first, options).all().get().forEach((partition, at) -> starts.put(partition, at.offset()));
      admin.listOffsets(last, options).all().get().forEach((partition, at) -> ends.put(partition, at.offset()));
      return starts.size();
    });
    say("read", () -> {
      Map<String, Object> more = new HashMap<>();
      config.forEach((name, value) -> more.put(name.toString(), value));
      more.put("enable.auto.commit", "false");
      more.put("auto.offset.reset", "none");
      more.put("isolation.level", "read_committed");
      more.put("group.id", "never-joined");
      long count = 0;
      try (var consumer = new KafkaConsumer<>(more, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
        for (TopicPartition partition : starts.keySet()) {
          consumer.assign(List.of(partition));
          consumer.seek(partition, starts.get(partition));
          long deadline = System.currentTimeMillis() + 10_000;
          while (consumer.position(partition) < ends.get(partition) && System.currentTimeMillis() < deadline) {
            count += consumer.poll(java.time.Duration.ofMillis(200)).count();
          }
        }
      }
      return count;
    });
  }

  static Object settings(Admin admin, ConfigResource.Type type, String name) throws Exception {
    ConfigResource resource = new ConfigResource(type, name);
    var options = new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true);
    return admin.describeConfigs(List.of(resource), options).all().get().get(resource).entries().size() > 0;
  }

  static void say(String name, Callable<Object> call) throws Exception {
    try {
      System.out.println("call " + name + " ok " + call.call());
    } catch (ExecutionException refused) {
      System.out.println("call " + name + " " + refused.getCause().getClass().getSimpleName());
    }
  }
}
