package main

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tidemark.test/ecosystem/driver"
)

// A member is a consumer and the only goroutine that polls it. While something that was polled is not yet in the queue, no
// partition is taken away.
type member struct {
	client   *kgo.Client
	queue    *driver.Queue
	commands chan func()
	leaving  chan struct{}
	left     chan struct{}
}

func join(ask *driver.Ask) (any, error) {
	balancer := kgo.CooperativeStickyBalancer()
	if ask.Assignor == "range" {
		balancer = kgo.RangeBalancer()
	}
	one, err := newMember(ask, kgo.Balancers(balancer))
	if err != nil {
		return nil, err
	}
	members.Put(ask.Member, one)
	return nil, nil
}

// joinNewer joins by the group protocol of Kafka 4.
func joinNewer(ask *driver.Ask) (any, error) {
	client, err := newClient(
		kgo.ConsumerGroup(ask.Group),
		kgo.ConsumeTopics(ask.Topic),
		kgo.Balancers(kgo.RangeBalancer()),
		kgo.ServerSideBalancer(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), driver.Wait)
	defer cancel()
	return nil, client.PollFetches(ctx).Err()
}

func newMember(ask *driver.Ask, more ...kgo.Opt) (*member, error) {
	topics, err := ask.Topics()
	if err != nil {
		return nil, err
	}
	one := &member{
		queue:    driver.NewQueue(),
		commands: make(chan func()),
		leaving:  make(chan struct{}),
		left:     make(chan struct{}),
	}
	gone := func(_ context.Context, _ *kgo.Client, some map[string][]int32) { one.queue.Revoke(spotsOf(some)) }
	options := append([]kgo.Opt{
		kgo.ClientID(ask.Member),
		kgo.ConsumerGroup(ask.Group),
		kgo.ConsumeTopics(topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.SessionTimeout(6 * time.Second),
		kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, some map[string][]int32) {
			one.queue.Assign(spotsOf(some))
		}),
		kgo.OnPartitionsRevoked(gone),
		kgo.OnPartitionsLost(gone),
	}, more...)
	one.client, err = newClient(options...)
	if err != nil {
		return nil, err
	}
	go one.poll()
	return one, nil
}

func (m *member) poll() {
	defer close(m.left)
	for {
		select {
		case <-m.leaving:
			m.client.CloseAllowingRebalance()
			return
		case command := <-m.commands:
			command()
		default:
			m.pollOnce()
		}
	}
}

func (m *member) pollOnce() {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	fetches := m.client.PollFetches(ctx)
	fetches.EachError(func(_ string, _ int32, err error) {
		if !errors.Is(err, context.DeadlineExceeded) {
			m.queue.Fail(err)
		}
	})
	fetches.EachRecord(func(record *kgo.Record) { m.queue.Push(toPlain(record)) })
	m.client.AllowRebalance()
}

// run does something between two polls.
func (m *member) run(work func() error) error {
	done := make(chan error)
	m.commands <- func() { done <- work() }
	return <-done
}

func (m *member) commit() error {
	offsets := map[string]map[int32]kgo.EpochOffset{}
	for spot, offset := range m.queue.Taken() {
		if offsets[spot.Topic] == nil {
			offsets[spot.Topic] = map[int32]kgo.EpochOffset{}
		}
		offsets[spot.Topic][spot.Partition] = kgo.EpochOffset{Epoch: -1, Offset: offset}
	}
	return commitSync(m.client, offsets)
}

func (m *member) seek(ask *driver.Ask) error {
	return m.run(func() error {
		to := kgo.EpochOffset{Epoch: -1, Offset: ask.Offset}
		m.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{ask.Topic: {ask.Partition: to}})
		m.queue.Forget(driver.Spot{Topic: ask.Topic, Partition: ask.Partition})
		return nil
	})
}

func (m *member) leave() error {
	close(m.leaving)
	<-m.left
	return nil
}

func spotsOf(some map[string][]int32) (spots []driver.Spot) {
	for topic, partitions := range some {
		for _, partition := range partitions {
			spots = append(spots, driver.Spot{Topic: topic, Partition: partition})
		}
	}
	return spots
}
