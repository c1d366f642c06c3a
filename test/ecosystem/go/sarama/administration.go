package main

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"tidemark.test/ecosystem/driver"
)

var administration = map[string]driver.Verb{
	"createTopics": createTopics,
	"listTopics": func(*driver.Ask) (any, error) {
		found, err := admin.ListTopics()
		return namesOf(found), err
	},
	"describeTopic": describeTopic,
	"createPartitions": func(ask *driver.Ask) (any, error) {
		return nil, admin.CreatePartitions(ask.Topic, ask.Total, nil, false)
	},
	"deleteTopics": func(ask *driver.Ask) (any, error) {
		topics, err := ask.Topics()
		for _, topic := range topics {
			err = errors.Join(err, admin.DeleteTopic(topic))
		}
		return nil, err
	},
	"describeConfigs": describeConfigs,
	"alterConfigs":    alterConfigs,
	"replaceConfigs": func(ask *driver.Ask) (any, error) {
		return nil, admin.AlterConfig(sarama.TopicResource, ask.Topic, pointers(ask.Configs), false)
	},
	"describeCluster": describeCluster,
	"listGroups": func(*driver.Ask) (any, error) {
		found, err := admin.ListConsumerGroups()
		return namesOf(found), err
	},
	"describeGroup": describeGroup,
	"deleteGroups": func(ask *driver.Ask) (any, error) {
		var err error
		for _, group := range ask.Groups {
			err = errors.Join(err, admin.DeleteConsumerGroup(group))
		}
		return nil, err
	},
	"groupOffsets": groupOffsets,
	"alterGroupOffsets": func(ask *driver.Ask) (any, error) {
		wish := map[string]map[int32]sarama.OffsetAndMetadata{
			ask.Topic: {ask.Partition: {Offset: ask.Offset, LeaderEpoch: -1}},
		}
		found, err := admin.AlterConsumerGroupOffsets(ask.Group, wish, nil)
		if err != nil {
			return nil, err
		}
		return nil, refused(found.Errors[ask.Topic][ask.Partition])
	},
	"deleteGroupOffsets": func(ask *driver.Ask) (any, error) {
		return nil, admin.DeleteConsumerGroupOffset(ask.Group, ask.Topic, ask.Partition)
	},
	"deleteRecords": func(ask *driver.Ask) (any, error) {
		if err := admin.DeleteRecords(ask.Topic, map[int32]int64{ask.Partition: ask.Before}); err != nil {
			return nil, err
		}
		// The answer has it, but does not get through to here.
		return client.GetOffset(ask.Topic, ask.Partition, sarama.OffsetOldest)
	},
	"logDirs": logDirs,
	"electLeaders": func(ask *driver.Ask) (any, error) {
		found, err := admin.ElectLeaders(sarama.PreferredElection, map[string][]int32{ask.Topic: {ask.Partition}})
		one := found[ask.Topic][ask.Partition]
		if err != nil || one == nil || one.ErrorCode == sarama.ErrNoError {
			return nil, err
		}
		if one.ErrorCode == sarama.ErrElectionNotNeeded {
			return "ELECTION_NOT_NEEDED", nil
		}
		return one.ErrorCode.Error(), nil
	},
	"reassign": func(ask *driver.Ask) (any, error) {
		return nil, admin.AlterPartitionReassignments(ask.Topic, [][]int32{ask.Replicas})
	},
	"reassignments": reassignments,
}

func createTopics(ask *driver.Ask) (any, error) {
	wishes, err := ask.Wishes()
	for _, wish := range wishes {
		detail := &sarama.TopicDetail{NumPartitions: wish.Partitions, ReplicationFactor: -1}
		detail.ConfigEntries = pointers(wish.Configs)
		if wish.Assignments != nil {
			detail.NumPartitions = -1
			detail.ReplicaAssignment = map[int32][]int32{}
			for partition, replicas := range wish.Assignments {
				detail.ReplicaAssignment[int32(partition)] = replicas
			}
		}
		err = errors.Join(err, admin.CreateTopic(wish.Topic, detail, false))
	}
	return nil, err
}

func describeTopic(ask *driver.Ask) (any, error) {
	found, err := admin.DescribeTopics([]string{ask.Topic})
	if err != nil {
		return nil, err
	}
	rows := make([]any, len(found[0].Partitions))
	for _, one := range found[0].Partitions {
		rows[one.ID] = map[string]any{"partition": one.ID, "leader": one.Leader, "replicas": one.Replicas, "isr": one.Isr}
	}
	return rows, refused(found[0].Err)
}

func describeConfigs(ask *driver.Ask) (any, error) {
	resource := &sarama.ConfigResource{Type: sarama.TopicResource, Name: ask.Topic}
	if ask.Broker != nil {
		resource = &sarama.ConfigResource{Type: sarama.BrokerResource, Name: fmt.Sprint(*ask.Broker)}
	}
	options := sarama.DescribeConfigsOptions{IncludeSynonyms: true, IncludeDocumentation: true}
	found, err := admin.DescribeConfigs([]*sarama.ConfigResource{resource}, options)
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for _, one := range found[0].Configs {
		values[one.Name] = one.Value
	}
	return values, refused(found[0].ErrorCode)
}

func alterConfigs(ask *driver.Ask) (any, error) {
	changes := map[string]sarama.IncrementalAlterConfigsEntry{}
	for name, value := range pointers(ask.Set) {
		changes[name] = sarama.IncrementalAlterConfigsEntry{
			Operation: sarama.IncrementalAlterConfigsOperationSet,
			Value:     value,
		}
	}
	for _, name := range ask.Remove {
		changes[name] = sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationDelete}
	}
	return nil, admin.IncrementalAlterConfig(sarama.TopicResource, ask.Topic, changes, false)
}

func describeCluster(*driver.Ask) (any, error) {
	found, controller, err := admin.DescribeCluster()
	if err != nil {
		return nil, err
	}
	nodes := []any{}
	for _, one := range found {
		nodes = append(nodes, map[string]any{"id": one.ID(), "address": one.Addr()})
	}
	// The name of the cluster is in an answer that the administrator does not hand on.
	broker, err := client.Controller()
	if err != nil {
		return nil, err
	}
	metadata, err := broker.GetMetadata(&sarama.MetadataRequest{Version: 9, Topics: []string{}})
	if err != nil {
		return nil, err
	}
	return map[string]any{"cluster": metadata.ClusterID, "controller": controller, "nodes": nodes}, nil
}

func describeGroup(ask *driver.Ask) (any, error) {
	found, err := admin.DescribeConsumerGroups([]string{ask.Group})
	if err != nil {
		return nil, err
	}
	rows := []any{}
	for _, member := range found[0].Members {
		assignment, err := member.GetMemberAssignment()
		if err != nil {
			return nil, err
		}
		names := []string{}
		if assignment != nil {
			for topic, partitions := range assignment.Topics {
				for _, partition := range partitions {
					names = append(names, fmt.Sprintf("%s-%d", topic, partition))
				}
			}
		}
		rows = append(rows, map[string]any{"clientId": member.ClientId, "partitions": names})
	}
	one := found[0]
	return map[string]any{"state": one.State, "assignor": one.Protocol, "members": rows}, refused(one.Err)
}

func groupOffsets(ask *driver.Ask) (any, error) {
	found, err := admin.ListConsumerGroupOffsetsBatch(map[string]map[string][]int32{ask.Group: nil})
	if err != nil {
		return nil, err
	}
	offsets := map[string]int64{}
	for topic, partitions := range found[ask.Group].Blocks {
		for partition, one := range partitions {
			offsets[fmt.Sprintf("%s-%d", topic, partition)] = one.Offset
		}
	}
	return offsets, refused(found[ask.Group].Err)
}

func logDirs(ask *driver.Ask) (any, error) {
	found, err := admin.DescribeLogDirs([]int32{*ask.Broker})
	sizes := map[string]int64{}
	for _, dir := range found[*ask.Broker] {
		for _, topic := range dir.Topics {
			for _, partition := range topic.Partitions {
				sizes[fmt.Sprintf("%s-%d", topic.Topic, partition.PartitionID)] = partition.Size
			}
		}
	}
	return sizes, err
}

// Topic by topic: there is no way to ask for all.
func reassignments(*driver.Ask) (any, error) {
	topics, err := admin.ListTopics()
	if err != nil {
		return nil, err
	}
	adding := map[string][]int32{}
	for topic, detail := range topics {
		var partitions []int32
		for partition := range detail.NumPartitions {
			partitions = append(partitions, partition)
		}
		found, err := admin.ListPartitionReassignments(topic, partitions)
		if err != nil {
			return nil, err
		}
		for partition, one := range found[topic] {
			adding[fmt.Sprintf("%s-%d", topic, partition)] = one.AddingReplicas
		}
	}
	return adding, nil
}

func pointers(values map[string]string) map[string]*string {
	rows := map[string]*string{}
	for name, value := range values {
		rows[name] = &value
	}
	return rows
}

func namesOf[T any](rows map[string]T) []string {
	names := []string{}
	for name := range rows {
		names = append(names, name)
	}
	return names
}

func refused(code sarama.KError) error {
	if code == sarama.ErrNoError {
		return nil
	}
	return code
}
