// franz-go behind the requests of ../../programs.py.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"dohle.example/compat/wire"
)

var codecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

func connect(options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(wire.Brokers()...)}, options...)...)
}

func do(ctx context.Context, asked wire.Request) (wire.Answer, error) {
	switch asked.Do {
	case "produce":
		return wire.Answer{}, produce(ctx, asked)
	case "consume":
		return assigned(ctx, asked, kgo.NewOffset().At(asked.Offset))
	case "consume_since":
		return assigned(ctx, asked, kgo.NewOffset().AfterMilli(asked.TimestampMs))
	case "subscribe":
		return read(
			ctx, asked, kgo.ConsumerGroup(asked.Group), kgo.ConsumeTopics(asked.Topic),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RetryTimeout(5*time.Second), // at its end too
			kgo.WithLogger(kgo.BasicLogger(os.Stderr, kgo.LogLevelDebug, nil)),
		)
	case "join":
		return wire.Answer{}, wire.Member(ctx, func(ctx context.Context) error { return join(ctx, asked) })
	}
	client, err := connect()
	if err != nil {
		return wire.Answer{}, err
	}
	defer client.Close()
	return administer(ctx, asked, kadm.NewClient(client))
}

func administer(ctx context.Context, asked wire.Request, admin *kadm.Client) (wire.Answer, error) {
	switch asked.Do {
	case "create_topic":
		_, err := admin.CreateTopic(ctx, int32(asked.Partitions), 3, nil, asked.Topic)
		return wire.Answer{}, err
	case "delete_topic":
		_, err := admin.DeleteTopic(ctx, asked.Topic)
		return wire.Answer{}, err
	case "grow_topic":
		found, err := admin.UpdatePartitions(ctx, asked.Partitions, asked.Topic)
		if err == nil {
			err = found.Error()
		}
		return wire.Answer{}, err
	case "alter_topic":
		var changes []kadm.AlterConfig
		for name, value := range asked.Configs {
			changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: kadm.StringPtr(value)})
		}
		found, err := admin.AlterTopicConfigs(ctx, changes, asked.Topic)
		if err == nil {
			err = found[0].Err
		}
		return wire.Answer{}, err
	case "topic_configs":
		found, err := admin.DescribeTopicConfigs(ctx, asked.Topic)
		if err != nil {
			return wire.Answer{}, err
		}
		configs := map[string]string{}
		for _, config := range found[0].Configs {
			configs[config.Key] = config.MaybeValue()
		}
		return wire.Answer{Configs: configs}, found[0].Err
	}
	return wire.Answer{}, fmt.Errorf("unknown request %q", asked.Do)
}

func produce(ctx context.Context, asked wire.Request) error {
	client, err := connect(
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerBatchCompression(codecs[asked.Codec]),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.AllowAutoTopicCreation(),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	var records []*kgo.Record
	for _, value := range asked.Values {
		records = append(records, &kgo.Record{Topic: asked.Topic, Partition: 0, Value: []byte(value)})
	}
	middle := len(records) / 2
	if err := client.ProduceSync(ctx, records[:middle]...).FirstErr(); err != nil {
		return err
	}
	wire.HalfWritten()
	return client.ProduceSync(ctx, records[middle:]...).FirstErr()
}

func assigned(ctx context.Context, asked wire.Request, from kgo.Offset) (wire.Answer, error) {
	return read(ctx, asked, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{asked.Topic: {0: from}}))
}

func read(ctx context.Context, asked wire.Request, options ...kgo.Opt) (wire.Answer, error) {
	client, err := connect(options...)
	if err != nil {
		return wire.Answer{}, err
	}
	defer client.Close()
	answer := wire.Answer{}
	for len(answer.Values) < asked.Count {
		fetches := client.PollRecords(ctx, asked.Count-len(answer.Values))
		if err := fetches.Err(); err != nil {
			return answer, err
		}
		fetches.EachRecord(func(record *kgo.Record) { answer.Values = append(answer.Values, string(record.Value)) })
	}
	if asked.Group != "" { // what was polled last is committed by the next poll, which does not come
		return answer, client.CommitUncommittedOffsets(ctx)
	}
	return answer, nil
}

func join(ctx context.Context, asked wire.Request) error {
	client, err := connect(
		kgo.ConsumerGroup(asked.Group), kgo.ConsumeTopics(asked.Topic), kgo.AutoCommitInterval(200*time.Millisecond),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		fetches.EachRecord(func(record *kgo.Record) { wire.Read(int(record.Partition), record.Value) })
		fetches.EachError(func(_ string, _ int32, err error) { fmt.Fprintln(os.Stderr, err) })
	}
	return client.CommitUncommittedOffsets(context.Background())
}

func main() { wire.Serve(do) }
