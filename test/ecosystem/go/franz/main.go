// franz-go (kgo, and kadm for administration) behind the verbs of the tests. Started with: BROKERS.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"tidemark.test/ecosystem/driver"
)

var (
	brokers = strings.Split(os.Args[1], ",")
	admin   *kadm.Client
	plain   *kgo.Client
	members driver.Named[*member]
	loads   driver.Named[*driver.Load]
)

var codecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

func main() {
	client, err := newClient()
	if err != nil {
		panic(err)
	}
	plain = client
	admin = kadm.NewClient(client)
	verbs := map[string]driver.Verb{
		"produce":   produce,
		"read":      read,
		"offsets":   offsets,
		"join":      join,
		"joinNewer": joinNewer,
		"transact":  transact,
		"load":      startLoad,
		"assigned":  func(ask *driver.Ask) (any, error) { return members.Get(ask.Member).queue.Assigned(ask.Count) },
		"take":      func(ask *driver.Ask) (any, error) { return members.Get(ask.Member).queue.Take(ask.Count) },
		"commit":    func(ask *driver.Ask) (any, error) { return nil, members.Get(ask.Member).commit() },
		"seek":      func(ask *driver.Ask) (any, error) { return nil, members.Get(ask.Member).seek(ask) },
		"leave":     func(ask *driver.Ask) (any, error) { return nil, members.Take(ask.Member).leave() },
		"loaded":    func(ask *driver.Ask) (any, error) { return loads.Get(ask.Name).More(ask.Count) },
		"endLoad":   func(ask *driver.Ask) (any, error) { return loads.Take(ask.Name).End() },
	}
	for name, verb := range administration {
		verbs[name] = verb
	}
	driver.Serve(verbs)
}

func newClient(more ...kgo.Opt) (*kgo.Client, error) {
	options := []kgo.Opt{kgo.SeedBrokers(brokers...), kgo.FetchMaxWait(200 * time.Millisecond)}
	return kgo.NewClient(append(options, more...)...)
}

func newProducer(more ...kgo.Opt) (*kgo.Client, error) {
	return newClient(append(more, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
}

func produce(ask *driver.Ask) (any, error) {
	options := []kgo.Opt{kgo.ProducerBatchCompression(codecs[ask.Codec]), kgo.ProducerLinger(50 * time.Millisecond)}
	if !ask.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	client, err := newProducer(options...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var records []*kgo.Record
	for _, one := range ask.Records {
		record := &kgo.Record{
			Topic:     ask.Topic,
			Partition: one.Partition,
			Timestamp: time.UnixMilli(one.Timestamp),
			Key:       driver.Raw(one.Key),
			Value:     driver.Raw(one.Value),
		}
		for _, header := range one.Headers {
			pair := kgo.RecordHeader{Key: header[0].Text, Value: driver.Raw(header[1].Value)}
			record.Headers = append(record.Headers, pair)
		}
		records = append(records, record)
	}
	ctx, cancel := context.WithTimeout(context.Background(), driver.Wait)
	defer cancel()
	return nil, client.ProduceSync(ctx, records...).FirstErr()
}

func read(ask *driver.Ask) (any, error) {
	from := map[string]map[int32]kgo.Offset{ask.Topic: {ask.Partition: kgo.NewOffset().At(ask.From)}}
	client, err := newClient(kgo.ConsumePartitions(from))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), driver.Wait)
	defer cancel()
	var found []driver.Record
	for len(found) < ask.Count {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		fetches.EachRecord(func(record *kgo.Record) { found = append(found, toPlain(record)) })
	}
	return found[:ask.Count], nil
}

func toPlain(record *kgo.Record) driver.Record {
	headers := [][2]driver.Bytes{}
	for _, header := range record.Headers {
		headers = append(headers, driver.Header(header.Key, header.Value))
	}
	return driver.Record{
		Topic:     record.Topic,
		Partition: record.Partition,
		Offset:    record.Offset,
		Timestamp: record.Timestamp.UnixMilli(),
		Key:       driver.Nullable(record.Key),
		Value:     driver.Nullable(record.Value),
		Headers:   headers,
	}
}

func offsets(ask *driver.Ask) (any, error) {
	word, milliseconds, err := ask.At()
	if err != nil {
		return nil, err
	}
	var found kadm.ListedOffsets
	switch word {
	case "earliest":
		found, err = admin.ListStartOffsets(context.Background(), ask.Topic)
	case "latest":
		found, err = admin.ListEndOffsets(context.Background(), ask.Topic)
	case "max-timestamp":
		found, err = admin.ListMaxTimestampOffsets(context.Background(), ask.Topic)
	default:
		found, err = admin.ListOffsetsAfterMilli(context.Background(), milliseconds, ask.Topic)
	}
	if err != nil {
		return nil, err
	}
	one, _ := found.Lookup(ask.Topic, ask.Partition)
	return one.Offset, one.Err
}

func transact(*driver.Ask) (any, error) {
	client, err := newProducer(kgo.TransactionalID("transactions"))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), driver.Wait)
	defer cancel()
	if err := client.BeginTransaction(); err != nil {
		return nil, err
	}
	return nil, client.ProduceSync(ctx, &kgo.Record{Topic: "transactions", Value: []byte("never")}).FirstErr()
}

func startLoad(ask *driver.Ask) (any, error) {
	client, err := newProducer()
	if err != nil {
		return nil, err
	}
	send := func(value string, done func(int64, error)) {
		record := &kgo.Record{Topic: ask.Topic, Value: []byte(value)}
		client.Produce(context.Background(), record, func(record *kgo.Record, err error) { done(record.Offset, err) })
	}
	closing := func() {
		if err := client.Flush(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		client.Close()
	}
	loads.Put(ask.Name, driver.StartLoad(ask.Name, send, closing))
	return nil, nil
}
