// Sarama behind the requests of ../../programs.py.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/IBM/sarama"

	"dohle.example/compat/wire"
)

var codecs = map[string]sarama.CompressionCodec{
	"none":   sarama.CompressionNone,
	"gzip":   sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy,
	"lz4":    sarama.CompressionLZ4,
	"zstd":   sarama.CompressionZSTD,
}

func config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V4_1_0_0
	return config
}

func do(ctx context.Context, asked wire.Request) (wire.Answer, error) {
	switch asked.Do {
	case "produce":
		return wire.Answer{}, produce(asked)
	case "consume", "consume_since":
		return assigned(ctx, asked)
	case "subscribe":
		return subscribe(ctx, asked)
	case "join":
		return wire.Answer{}, wire.Member(ctx, func(ctx context.Context) error { return join(ctx, asked) })
	}
	admin, err := sarama.NewClusterAdmin(wire.Brokers(), config())
	if err != nil {
		return wire.Answer{}, err
	}
	defer admin.Close()
	return administer(asked, admin)
}

func administer(asked wire.Request, admin sarama.ClusterAdmin) (wire.Answer, error) {
	switch asked.Do {
	case "create_topic":
		detail := &sarama.TopicDetail{NumPartitions: int32(asked.Partitions), ReplicationFactor: 3}
		return wire.Answer{}, admin.CreateTopic(asked.Topic, detail, false)
	case "delete_topic":
		return wire.Answer{}, admin.DeleteTopic(asked.Topic)
	case "grow_topic":
		return wire.Answer{}, admin.CreatePartitions(asked.Topic, int32(asked.Partitions), nil, false)
	case "alter_topic":
		changes := map[string]sarama.IncrementalAlterConfigsEntry{}
		for name, value := range asked.Configs {
			changes[name] = sarama.IncrementalAlterConfigsEntry{
				Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value,
			}
		}
		return wire.Answer{}, admin.IncrementalAlterConfig(sarama.TopicResource, asked.Topic, changes, false)
	case "topic_configs":
		found, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: asked.Topic})
		configs := map[string]string{}
		for _, entry := range found {
			configs[entry.Name] = entry.Value
		}
		return wire.Answer{Configs: configs}, err
	}
	return wire.Answer{}, fmt.Errorf("unknown request %q", asked.Do)
}

func produce(asked wire.Request) error {
	config := config()
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	config.Producer.Retry.Max = 300
	config.Producer.Return.Successes = true
	config.Producer.Compression = codecs[asked.Codec]
	config.Producer.Partitioner = sarama.NewManualPartitioner
	producer, err := sarama.NewSyncProducer(wire.Brokers(), config)
	if err != nil {
		return err
	}
	defer producer.Close()
	var messages []*sarama.ProducerMessage
	for _, value := range asked.Values {
		messages = append(messages, &sarama.ProducerMessage{Topic: asked.Topic, Value: sarama.StringEncoder(value)})
	}
	middle := len(messages) / 2
	if err := producer.SendMessages(messages[:middle]); err != nil {
		return err
	}
	wire.HalfWritten()
	return producer.SendMessages(messages[middle:])
}

func assigned(ctx context.Context, asked wire.Request) (wire.Answer, error) {
	client, err := sarama.NewClient(wire.Brokers(), config())
	if err != nil {
		return wire.Answer{}, err
	}
	defer client.Close()
	offset := asked.Offset
	if asked.Do == "consume_since" {
		if offset, err = client.GetOffset(asked.Topic, 0, asked.TimestampMs); err != nil {
			return wire.Answer{}, err
		}
	}
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return wire.Answer{}, err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(asked.Topic, 0, offset)
	if err != nil {
		return wire.Answer{}, err
	}
	defer partition.Close()
	answer := wire.Answer{}
	for len(answer.Values) < asked.Count {
		select {
		case message := <-partition.Messages():
			answer.Values = append(answer.Values, string(message.Value))
		case <-ctx.Done():
			return answer, ctx.Err()
		}
	}
	return answer, nil
}

type member struct {
	count  int
	values []string
	enough context.CancelFunc
}

func (m *member) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		m.values = append(m.values, string(message.Value))
		session.MarkMessage(message, "")
		if len(m.values) == m.count {
			m.enough()
			return nil
		}
	}
	return nil
}

func subscribe(ctx context.Context, asked wire.Request) (wire.Answer, error) {
	sarama.Logger = log.New(os.Stderr, "", 0)
	config := config()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Metadata.Retry.Max = 2
	config.Metadata.Retry.Backoff = 100 * time.Millisecond
	group, err := sarama.NewConsumerGroup(wire.Brokers(), asked.Group, config)
	if err != nil {
		return wire.Answer{}, err
	}
	defer group.Close()
	inner, enough := context.WithCancel(ctx)
	defer enough()
	reader := &member{count: asked.Count, enough: enough}
	for inner.Err() == nil {
		if err := group.Consume(inner, []string{asked.Topic}, reader); err != nil {
			return wire.Answer{}, err
		}
	}
	return wire.Answer{Values: reader.values}, nil
}

type reader struct{ member }

func (r *reader) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		wire.Read(int(message.Partition), message.Value)
		session.MarkMessage(message, "")
	}
	return nil
}

func join(ctx context.Context, asked wire.Request) error {
	config := config()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Interval = 200 * time.Millisecond
	group, err := sarama.NewConsumerGroup(wire.Brokers(), asked.Group, config)
	if err != nil {
		return err
	}
	defer group.Close()
	for ctx.Err() == nil { // a session ends with each rebalance, and with its coordinator
		if err := group.Consume(ctx, []string{asked.Topic}, &reader{}); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	return nil
}

func main() { wire.Serve(do) }
