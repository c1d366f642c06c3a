package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"tidemark.test/ecosystem/driver"
)

// A member is a consumer group's handler, which is asked to consume again whenever a session has ended.
type member struct {
	group  sarama.ConsumerGroup
	topics []string
	queue  *driver.Queue
	left   chan struct{}

	lock    sync.Mutex
	session sarama.ConsumerGroupSession
	// cancel ends the session that is there.
	cancel    context.CancelFunc
	isLeaving bool
}

func join(ask *driver.Ask) (any, error) {
	topics, err := ask.Topics()
	if err != nil {
		return nil, err
	}
	strategy := sarama.NewBalanceStrategyCooperativeSticky()
	if ask.Assignor == "range" {
		strategy = sarama.NewBalanceStrategyRange()
	}
	config := newConfig()
	config.ClientID = ask.Member
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Session.Timeout = 6 * time.Second
	config.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
	group, err := sarama.NewConsumerGroup(brokers, ask.Group, config)
	if err != nil {
		return nil, err
	}
	one := &member{group: group, topics: topics, queue: driver.NewQueue(), left: make(chan struct{})}
	go func() {
		// It goes on after most of them; whoever waits in vain is told the last.
		for err := range group.Errors() {
			one.queue.Complain(err)
		}
	}()
	go one.consume()
	members.Put(ask.Member, one)
	return nil, nil
}

func (m *member) consume() {
	defer close(m.left)
	for {
		ctx, cancel := context.WithCancel(context.Background())
		m.lock.Lock()
		m.cancel = cancel
		isLeaving := m.isLeaving
		m.lock.Unlock()
		if isLeaving {
			cancel()
			return
		}
		err := m.group.Consume(ctx, m.topics, m)
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) {
			m.queue.Complain(err)
			time.Sleep(100 * time.Millisecond)
		}
	}
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.session = session
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.session = nil
	return nil
}

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	spots := []driver.Spot{{Topic: claim.Topic(), Partition: claim.Partition()}}
	m.queue.Assign(spots)
	defer m.queue.Revoke(spots)
	for {
		select {
		case message, is := <-claim.Messages():
			if !is {
				return nil
			}
			m.queue.Push(toPlain(message))
		case <-session.Context().Done():
			return nil
		}
	}
}

func (m *member) commit() error {
	m.lock.Lock()
	defer m.lock.Unlock()
	if m.session == nil {
		return errors.New("between two sessions nothing can be committed")
	}
	for spot, offset := range m.queue.Taken() {
		m.session.MarkOffset(spot.Topic, spot.Partition, offset, "")
	}
	m.session.Commit()
	return nil
}

// A claim cannot be told to go elsewhere: what is committed is moved, and another session begins there.
func (m *member) seek(ask *driver.Ask) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	if m.session == nil {
		return errors.New("between two sessions nothing can be moved")
	}
	// Each of them goes one way only.
	m.session.MarkOffset(ask.Topic, ask.Partition, ask.Offset, "")
	m.session.ResetOffset(ask.Topic, ask.Partition, ask.Offset, "")
	m.session.Commit()
	m.queue.Revoke([]driver.Spot{{Topic: ask.Topic, Partition: ask.Partition}})
	m.session = nil
	m.cancel()
	return nil
}

func (m *member) leave() error {
	m.lock.Lock()
	m.isLeaving = true
	m.cancel()
	m.lock.Unlock()
	<-m.left
	return m.group.Close()
}
