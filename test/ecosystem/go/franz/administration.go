package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tidemark.test/ecosystem/driver"
)

var forever = context.Background()

var administration = map[string]driver.Verb{
	"createTopics": createTopics,
	"listTopics": func(*driver.Ask) (any, error) {
		found, err := admin.ListTopics(forever)
		return found.Names(), err
	},
	"describeTopic": describeTopic,
	"createPartitions": func(ask *driver.Ask) (any, error) {
		found, err := admin.UpdatePartitions(forever, int(ask.Total), ask.Topic)
		return nil, first(err, found.Error)
	},
	"deleteTopics": func(ask *driver.Ask) (any, error) {
		topics, err := ask.Topics()
		if err != nil {
			return nil, err
		}
		found, err := admin.DeleteTopics(forever, topics...)
		return nil, first(err, found.Error)
	},
	"describeConfigs": describeConfigs,
	"alterConfigs":    alterConfigs,
	"replaceConfigs":  replaceConfigs,
	"describeCluster": describeCluster,
	"listGroups": func(*driver.Ask) (any, error) {
		found, err := admin.ListGroups(forever)
		return found.Groups(), err
	},
	"describeGroup": describeGroup,
	"deleteGroups": func(ask *driver.Ask) (any, error) {
		found, err := admin.DeleteGroups(forever, ask.Groups...)
		return nil, first(err, found.Error)
	},
	"groupOffsets":      groupOffsets,
	"alterGroupOffsets": alterGroupOffsets,
	"deleteGroupOffsets": func(ask *driver.Ask) (any, error) {
		found, err := admin.DeleteOffsets(forever, ask.Group, spot(ask))
		return nil, first(err, found.Error)
	},
	"deleteRecords": deleteRecords,
	"logDirs": func(ask *driver.Ask) (any, error) {
		found, err := admin.DescribeBrokerLogDirs(forever, *ask.Broker, nil)
		sizes := map[string]int64{}
		found.EachPartition(func(one kadm.DescribedLogDirPartition) {
			sizes[fmt.Sprintf("%s-%d", one.Topic, one.Partition)] = one.Size
		})
		return sizes, first(err, found.Error)
	},
	"electLeaders": electLeaders,
	"reassign": func(ask *driver.Ask) (any, error) {
		var wish kadm.AlterPartitionAssignmentsReq
		if ask.Replicas == nil {
			wish.CancelAssign(ask.Topic, ask.Partition)
		} else {
			wish.Assign(ask.Topic, ask.Partition, ask.Replicas)
		}
		found, err := admin.AlterPartitionAssignments(forever, wish)
		return nil, first(err, found.Error)
	},
	"reassignments": func(*driver.Ask) (any, error) {
		found, err := admin.ListPartitionReassignments(forever, nil)
		adding := map[string][]int32{}
		for _, one := range found.Sorted() {
			adding[fmt.Sprintf("%s-%d", one.Topic, one.Partition)] = one.AddingReplicas
		}
		return adding, err
	},
	"producers": func(ask *driver.Ask) (any, error) {
		found, err := admin.DescribeProducers(forever, spot(ask))
		producers := []any{}
		for _, one := range found.SortedProducers() {
			row := map[string]any{"id": one.ProducerID, "epoch": one.ProducerEpoch, "lastSequence": one.LastSequence}
			producers = append(producers, row)
		}
		return producers, err
	},
}

// By kmsg where replicas are named: kadm leaves it to the brokers.
func createTopics(ask *driver.Ask) (any, error) {
	wishes, err := ask.Wishes()
	if err != nil {
		return nil, err
	}
	for _, wish := range wishes {
		if wish.Assignments != nil {
			if err := createPlaced(wish); err != nil {
				return nil, err
			}
			continue
		}
		configs := map[string]*string{}
		for name, value := range wish.Configs {
			configs[name] = kadm.StringPtr(value)
		}
		found, err := admin.CreateTopics(forever, wish.Partitions, -1, configs, wish.Topic)
		if err := first(err, found.Error); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func createPlaced(wish driver.Wish) error {
	request := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic = wish.Topic
	topic.NumPartitions = -1
	topic.ReplicationFactor = -1
	for partition, replicas := range wish.Assignments {
		row := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		row.Partition = int32(partition)
		row.Replicas = replicas
		topic.ReplicaAssignment = append(topic.ReplicaAssignment, row)
	}
	request.Topics = append(request.Topics, topic)
	response, err := request.RequestWith(forever, plain)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(response.Topics[0].ErrorCode)
}

func describeTopic(ask *driver.Ask) (any, error) {
	found, err := admin.Metadata(forever, ask.Topic)
	if err != nil {
		return nil, err
	}
	rows := []any{}
	for _, one := range found.Topics[ask.Topic].Partitions.Sorted() {
		row := map[string]any{"partition": one.Partition, "leader": one.Leader, "replicas": one.Replicas, "isr": one.ISR}
		rows = append(rows, row)
	}
	return rows, found.Topics[ask.Topic].Err
}

func describeConfigs(ask *driver.Ask) (any, error) {
	var found kadm.ResourceConfigs
	var err error
	if ask.Broker != nil {
		found, err = admin.DescribeBrokerConfigs(forever, *ask.Broker)
	} else {
		found, err = admin.DescribeTopicConfigs(forever, ask.Topic)
	}
	if err != nil {
		return nil, err
	}
	values := map[string]*string{}
	for _, one := range found[0].Configs {
		values[one.Key] = one.Value
	}
	return values, found[0].Err
}

func alterConfigs(ask *driver.Ask) (any, error) {
	var changes []kadm.AlterConfig
	for name, value := range ask.Set {
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: kadm.StringPtr(value)})
	}
	for _, name := range ask.Remove {
		changes = append(changes, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: name})
	}
	found, err := admin.AlterTopicConfigs(forever, changes, ask.Topic)
	return nil, first(err, func() error { return found[0].Err })
}

func replaceConfigs(ask *driver.Ask) (any, error) {
	var state []kadm.AlterConfig
	for name, value := range ask.Configs {
		state = append(state, kadm.AlterConfig{Name: name, Value: kadm.StringPtr(value)})
	}
	found, err := admin.AlterTopicConfigsState(forever, state, ask.Topic)
	return nil, first(err, func() error { return found[0].Err })
}

func describeCluster(*driver.Ask) (any, error) {
	found, err := admin.BrokerMetadata(forever)
	nodes := []any{}
	for _, one := range found.Brokers {
		nodes = append(nodes, map[string]any{"id": one.NodeID, "address": fmt.Sprintf("%s:%d", one.Host, one.Port)})
	}
	return map[string]any{"cluster": found.Cluster, "controller": found.Controller, "nodes": nodes}, err
}

func describeGroup(ask *driver.Ask) (any, error) {
	found, err := admin.DescribeGroups(forever, ask.Group)
	if err != nil {
		return nil, err
	}
	one := found[ask.Group]
	rows := []any{}
	for _, member := range one.Members {
		names := []string{}
		if assigned, is := member.Assigned.AsConsumer(); is {
			for _, topic := range assigned.Topics {
				for _, partition := range topic.Partitions {
					names = append(names, fmt.Sprintf("%s-%d", topic.Topic, partition))
				}
			}
		}
		rows = append(rows, map[string]any{"clientId": member.ClientID, "partitions": names})
	}
	return map[string]any{"state": one.State, "assignor": one.Protocol, "members": rows}, one.Err
}

func groupOffsets(ask *driver.Ask) (any, error) {
	found, err := admin.FetchOffsets(forever, ask.Group)
	// It looks for a coordinator once, and in vain on a connection that has broken meanwhile; it keeps several.
	for tries := 1; tries < 5 && errors.Is(err, io.EOF); tries++ {
		found, err = admin.FetchOffsets(forever, ask.Group)
	}
	offsets := map[string]int64{}
	found.Each(func(one kadm.OffsetResponse) { offsets[fmt.Sprintf("%s-%d", one.Topic, one.Partition)] = one.At })
	return offsets, first(err, found.Error)
}

func alterGroupOffsets(ask *driver.Ask) (any, error) {
	var wish kadm.Offsets
	wish.AddOffset(ask.Topic, ask.Partition, ask.Offset, -1)
	found, err := admin.CommitOffsets(forever, ask.Group, wish)
	return nil, first(err, found.Error)
}

func deleteRecords(ask *driver.Ask) (any, error) {
	var wish kadm.Offsets
	wish.AddOffset(ask.Topic, ask.Partition, ask.Before, -1)
	found, err := admin.DeleteRecords(forever, wish)
	one, _ := found.Lookup(ask.Topic, ask.Partition)
	return one.LowWatermark, first(err, found.Error)
}

func electLeaders(ask *driver.Ask) (any, error) {
	found, err := admin.ElectLeaders(forever, kadm.ElectPreferredReplica, spot(ask))
	if err != nil {
		return nil, err
	}
	var refused *kerr.Error
	if errors.As(found[ask.Topic][ask.Partition].Err, &refused) {
		return refused.Message, nil
	}
	return nil, nil
}

func commitSync(client *kgo.Client, offsets map[string]map[int32]kgo.EpochOffset) (failure error) {
	client.CommitOffsetsSync(forever, offsets,
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error) {
			failure = err
			if response == nil {
				return
			}
			for _, topic := range response.Topics {
				for _, partition := range topic.Partitions {
					failure = first(failure, func() error { return kerr.ErrorForCode(partition.ErrorCode) })
				}
			}
		})
	return failure
}

func spot(ask *driver.Ask) kadm.TopicsSet {
	var set kadm.TopicsSet
	set.Add(ask.Topic, ask.Partition)
	return set
}

// first is the error of the call, or that of what it answered.
func first(err error, answered func() error) error {
	if err != nil {
		return err
	}
	return answered()
}
