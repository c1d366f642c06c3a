// sarama behind the verbs of the tests. Started with: BROKERS.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"tidemark.test/ecosystem/driver"
)

var (
	brokers = strings.Split(os.Args[1], ",")
	client  sarama.Client
	admin   sarama.ClusterAdmin
	members driver.Named[*member]
	loads   driver.Named[*driver.Load]
)

var codecs = map[string]sarama.CompressionCodec{
	"none":   sarama.CompressionNone,
	"gzip":   sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy,
	"lz4":    sarama.CompressionLZ4,
	"zstd":   sarama.CompressionZSTD,
}

func main() {
	var err error
	if client, err = sarama.NewClient(brokers, newConfig()); err != nil {
		panic(err)
	}
	if admin, err = sarama.NewClusterAdminFromClient(client); err != nil {
		panic(err)
	}
	verbs := map[string]driver.Verb{
		"produce":  produce,
		"read":     read,
		"offsets":  offsets,
		"join":     join,
		"transact": transact,
		"load":     startLoad,
		"assigned": func(ask *driver.Ask) (any, error) { return members.Get(ask.Member).queue.Assigned(ask.Count) },
		"take":     func(ask *driver.Ask) (any, error) { return members.Get(ask.Member).queue.Take(ask.Count) },
		"commit":   func(ask *driver.Ask) (any, error) { return nil, members.Get(ask.Member).commit() },
		"seek":     func(ask *driver.Ask) (any, error) { return nil, members.Get(ask.Member).seek(ask) },
		"leave":    func(ask *driver.Ask) (any, error) { return nil, members.Take(ask.Member).leave() },
		"loaded":   func(ask *driver.Ask) (any, error) { return loads.Get(ask.Name).More(ask.Count) },
		"endLoad":  func(ask *driver.Ask) (any, error) { return loads.Take(ask.Name).End() },
	}
	for name, verb := range administration {
		verbs[name] = verb
	}
	driver.Serve(verbs)
}

func newConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Consumer.MaxWaitTime = 200 * time.Millisecond
	config.Consumer.Return.Errors = true
	config.Metadata.RefreshFrequency = 2 * time.Second
	return config
}

func newProducerConfig(idempotent bool) *sarama.Config {
	config := newConfig()
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Return.Successes = true
	config.Producer.Flush.Frequency = 5 * time.Millisecond
	config.Producer.Retry.Max = 200
	config.Producer.Retry.Backoff = 100 * time.Millisecond
	if idempotent {
		config.Producer.Idempotent = true
		config.Net.MaxOpenRequests = 1
	}
	return config
}

func produce(ask *driver.Ask) (any, error) {
	config := newProducerConfig(ask.Idempotent)
	config.Producer.Compression = codecs[ask.Codec]
	producer, err := sarama.NewSyncProducer(brokers, config)
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	var messages []*sarama.ProducerMessage
	for _, one := range ask.Records {
		message := &sarama.ProducerMessage{
			Topic:     ask.Topic,
			Partition: one.Partition,
			Timestamp: time.UnixMilli(one.Timestamp),
			Key:       encoder(one.Key),
			Value:     encoder(one.Value),
		}
		for _, header := range one.Headers {
			pair := sarama.RecordHeader{Key: []byte(header[0].Text), Value: driver.Raw(header[1].Value)}
			message.Headers = append(message.Headers, pair)
		}
		messages = append(messages, message)
	}
	return nil, producer.SendMessages(messages)
}

func encoder(value *[]byte) sarama.Encoder {
	if value == nil {
		return nil
	}
	return sarama.ByteEncoder(driver.Raw(value))
}

func read(ask *driver.Ask) (any, error) {
	consumer, err := sarama.NewConsumer(brokers, newConfig())
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(ask.Topic, ask.Partition, ask.From)
	if err != nil {
		return nil, err
	}
	defer partition.Close()
	var found []driver.Record
	limit := time.After(driver.Wait)
	for len(found) < ask.Count {
		select {
		case message := <-partition.Messages():
			found = append(found, toPlain(message))
		case err := <-partition.Errors():
			return nil, err
		case <-limit:
			return nil, fmt.Errorf("only %d records", len(found))
		}
	}
	return found, nil
}

func toPlain(message *sarama.ConsumerMessage) driver.Record {
	headers := [][2]driver.Bytes{}
	for _, header := range message.Headers {
		headers = append(headers, driver.Header(string(header.Key), header.Value))
	}
	return driver.Record{
		Topic:     message.Topic,
		Partition: message.Partition,
		Offset:    message.Offset,
		Timestamp: message.Timestamp.UnixMilli(),
		Key:       driver.Nullable(message.Key),
		Value:     driver.Nullable(message.Value),
		Headers:   headers,
	}
}

func offsets(ask *driver.Ask) (any, error) {
	word, at, err := ask.At()
	if err != nil {
		return nil, err
	}
	switch word {
	case "earliest":
		at = sarama.OffsetOldest
	case "latest":
		at = sarama.OffsetNewest
	}
	return client.GetOffset(ask.Topic, ask.Partition, at)
}

func transact(*driver.Ask) (any, error) {
	config := newProducerConfig(true)
	config.Producer.Transaction.ID = "transactions"
	config.Producer.Transaction.Retry.Max = 3
	producer, err := sarama.NewAsyncProducer(brokers, config)
	if err != nil {
		return nil, err
	}
	return nil, errors.Join(producer.BeginTxn(), producer.Close())
}

func startLoad(ask *driver.Ask) (any, error) {
	producer, err := sarama.NewAsyncProducer(brokers, newProducerConfig(true))
	if err != nil {
		return nil, err
	}
	finished := make(chan struct{})
	tell := func(message *sarama.ProducerMessage, err error) {
		message.Metadata.(func(int64, error))(message.Offset, err)
	}
	go func() {
		defer close(finished)
		for message := range producer.Successes() {
			tell(message, nil)
		}
	}()
	go func() {
		for failure := range producer.Errors() {
			tell(failure.Msg, failure.Err)
		}
	}()
	send := func(value string, done func(int64, error)) {
		producer.Input() <- &sarama.ProducerMessage{Topic: ask.Topic, Value: sarama.StringEncoder(value), Metadata: done}
	}
	closing := func() {
		producer.AsyncClose()
		<-finished
	}
	loads.Put(ask.Name, driver.StartLoad(ask.Name, send, closing))
	return nil, nil
}
