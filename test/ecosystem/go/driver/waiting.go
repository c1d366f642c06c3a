package driver

import (
	"fmt"
	"sort"
	"sync"
	"time"
)

// waiters are woken whenever something has changed, and look again.
type waiters struct {
	lock    sync.Mutex
	changed chan struct{}
}

// change does something under the lock, and wakes whoever waits.
func (w *waiters) change(work func()) {
	w.lock.Lock()
	defer w.lock.Unlock()
	work()
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
}

// until waits until it is so, and does something under the lock then.
func (w *waiters) until(isSo func() bool, limit time.Duration, then func(isSo bool)) {
	timer := time.After(limit)
	for {
		w.lock.Lock()
		if isSo() {
			then(true)
			w.lock.Unlock()
			return
		}
		if w.changed == nil {
			w.changed = make(chan struct{})
		}
		changed := w.changed
		w.lock.Unlock()
		select {
		case <-changed:
		case <-timer:
			w.lock.Lock()
			then(false)
			w.lock.Unlock()
			return
		}
	}
}

// Spot is a partition.
type Spot struct {
	Topic     string
	Partition int32
}

func (s Spot) String() string { return fmt.Sprintf("%s-%d", s.Topic, s.Partition) }

// Queue is what a member of a group has and has not yet been asked for.
type Queue struct {
	waiters
	partitions map[Spot]bool
	records    []Record
	taken      map[Spot]int64
	failure    error
	complaint  error
}

// NewQueue has nothing.
func NewQueue() *Queue {
	return &Queue{partitions: map[Spot]bool{}, taken: map[Spot]int64{}}
}

// Push adds what has come.
func (q *Queue) Push(records ...Record) {
	q.change(func() { q.records = append(q.records, records...) })
}

// Assign adds partitions.
func (q *Queue) Assign(spots []Spot) {
	q.change(func() {
		for _, spot := range spots {
			q.partitions[spot] = true
		}
	})
}

// Revoke takes partitions away, and what came of them.
func (q *Queue) Revoke(spots []Spot) {
	q.change(func() {
		for _, spot := range spots {
			delete(q.partitions, spot)
			q.forget(spot)
		}
	})
}

// Forget drops what came of a partition.
func (q *Queue) Forget(spot Spot) {
	q.change(func() { q.forget(spot) })
}

func (q *Queue) forget(spot Spot) {
	var kept []Record
	for _, record := range q.records {
		if (Spot{record.Topic, record.Partition}) != spot {
			kept = append(kept, record)
		}
	}
	q.records = kept
	delete(q.taken, spot)
}

// Fail tells whoever waits.
func (q *Queue) Fail(err error) {
	q.change(func() { q.failure = err })
}

// Complain is told to who has waited in vain.
func (q *Queue) Complain(err error) {
	q.change(func() { q.complaint = err })
}

// Assigned waits until there are so many partitions.
func (q *Queue) Assigned(count int) (any, error) {
	names := []string{}
	err := q.wait(func() bool { return len(q.partitions) == count }, "partitions", func() {
		for spot := range q.partitions {
			names = append(names, spot.String())
		}
	})
	sort.Strings(names)
	return names, err
}

// Take waits for so many records.
func (q *Queue) Take(count int) (any, error) {
	var some []Record
	err := q.wait(func() bool { return len(q.records) >= count }, "records", func() {
		some, q.records = q.records[:count:count], q.records[count:]
		for _, record := range some {
			q.taken[Spot{record.Topic, record.Partition}] = record.Offset + 1
		}
	})
	return some, err
}

// Taken has the offsets to go on from.
func (q *Queue) Taken() map[Spot]int64 {
	taken := map[Spot]int64{}
	q.change(func() {
		for spot, offset := range q.taken {
			taken[spot] = offset
		}
	})
	return taken
}

func (q *Queue) wait(isSo func() bool, what string, then func()) (err error) {
	q.until(func() bool { return isSo() || q.failure != nil }, Wait, func(bool) {
		if isSo() {
			then()
		} else if err = q.failure; err == nil {
			err = fmt.Errorf("still waiting for %s: %v, %d records, %v", what, q.partitions, len(q.records), q.complaint)
		}
	})
	return err
}

// Load is a producer that writes until it is told to end.
type Load struct {
	waiters
	acknowledged [][2]any
	failed       [][2]any
	ending       chan struct{}
	ended        chan struct{}
}

// StartLoad begins to send NAME:0, NAME:1 and so on. `send` may be called before what was sent has been acknowledged;
// `closing` waits for all of it.
func StartLoad(name string, send func(value string, done func(offset int64, err error)), closing func()) *Load {
	load := &Load{ending: make(chan struct{}), ended: make(chan struct{}), acknowledged: [][2]any{}, failed: [][2]any{}}
	slots := make(chan struct{}, 20)
	go func() {
		defer close(load.ended)
		defer closing()
		for number := 0; ; number++ {
			select {
			case <-load.ending:
				return
			case slots <- struct{}{}:
			}
			// What is written is read again: no more than a moment's worth.
			time.Sleep(2 * time.Millisecond)
			value := fmt.Sprintf("%s:%d", name, number)
			send(value, func(offset int64, err error) {
				load.change(func() {
					if err == nil {
						load.acknowledged = append(load.acknowledged, [2]any{value, offset})
					} else {
						load.failed = append(load.failed, [2]any{value, err.Error()})
					}
				})
				<-slots
			})
		}
	}()
	return load
}

// More waits for so many more acknowledgements.
func (l *Load) More(count int) (found any, err error) {
	goal := 0
	l.change(func() { goal = len(l.acknowledged) + count })
	l.until(func() bool { return len(l.acknowledged) >= goal }, 2*Wait, func(isSo bool) {
		found = len(l.acknowledged)
		if !isSo {
			err = fmt.Errorf("only %d of %d, failed %v", len(l.acknowledged), goal, l.failed)
		}
	})
	return found, err
}

// End answers what became of all.
func (l *Load) End() (any, error) {
	close(l.ending)
	<-l.ended
	return map[string]any{"acknowledged": l.acknowledged, "failed": l.failed}, nil
}
