// kafka-go behind the requests of ../../programs.py.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/segmentio/kafka-go"

	"dohle.example/compat/wire"
)

var codecs = map[string]kafka.Compression{
	"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
}

func do(ctx context.Context, asked wire.Request) (wire.Answer, error) {
	switch asked.Do {
	case "produce":
		return wire.Answer{}, produce(ctx, asked)
	case "consume", "consume_since", "subscribe":
		return read(ctx, asked)
	case "join":
		return wire.Answer{}, wire.Member(ctx, func(ctx context.Context) error { return join(ctx, asked) })
	}
	return administer(ctx, asked, &kafka.Client{Addr: kafka.TCP(wire.Brokers()...), Timeout: wire.Patience})
}

func administer(ctx context.Context, asked wire.Request, client *kafka.Client) (wire.Answer, error) {
	switch asked.Do {
	case "create_topic":
		topic := kafka.TopicConfig{Topic: asked.Topic, NumPartitions: asked.Partitions, ReplicationFactor: 3}
		found, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{topic}})
		if err == nil {
			err = found.Errors[asked.Topic]
		}
		return wire.Answer{}, err
	case "delete_topic":
		found, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{asked.Topic}})
		if err == nil {
			err = found.Errors[asked.Topic]
		}
		return wire.Answer{}, err
	case "grow_topic":
		topics := []kafka.TopicPartitionsConfig{{Name: asked.Topic, Count: int32(asked.Partitions)}}
		found, err := client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{Topics: topics})
		if err == nil {
			err = found.Errors[asked.Topic]
		}
		return wire.Answer{}, err
	case "alter_topic":
		resource := kafka.IncrementalAlterConfigsRequestResource{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: asked.Topic,
		}
		for name, value := range asked.Configs {
			resource.Configs = append(resource.Configs, kafka.IncrementalAlterConfigsRequestConfig{
				Name: name, Value: value, ConfigOperation: kafka.ConfigOperationSet,
			})
		}
		found, err := client.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{
			Resources: []kafka.IncrementalAlterConfigsRequestResource{resource},
		})
		if err == nil {
			err = found.Resources[0].Error
		}
		return wire.Answer{}, err
	case "topic_configs":
		found, err := client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{
			Resources: []kafka.DescribeConfigRequestResource{
				{ResourceType: kafka.ResourceTypeTopic, ResourceName: asked.Topic},
			},
		})
		if err != nil {
			return wire.Answer{}, err
		}
		configs := map[string]string{}
		for _, entry := range found.Resources[0].ConfigEntries {
			configs[entry.ConfigName] = entry.ConfigValue
		}
		return wire.Answer{Configs: configs}, found.Resources[0].Error
	}
	return wire.Answer{}, fmt.Errorf("unknown request %q", asked.Do)
}

func produce(ctx context.Context, asked wire.Request) error {
	first := kafka.BalancerFunc(func(_ kafka.Message, partitions ...int) int { return partitions[0] })
	writer := &kafka.Writer{
		Addr: kafka.TCP(wire.Brokers()...), Topic: asked.Topic, Balancer: first, Compression: codecs[asked.Codec],
		RequiredAcks: kafka.RequireAll, MaxAttempts: 300, BatchTimeout: 20 * time.Millisecond,
		AllowAutoTopicCreation: true,
	}
	var messages []kafka.Message
	for _, value := range asked.Values {
		messages = append(messages, kafka.Message{Value: []byte(value)})
	}
	defer writer.Close()
	middle := len(messages) / 2
	if err := writer.WriteMessages(ctx, messages[:middle]...); err != nil {
		return err
	}
	wire.HalfWritten()
	return writer.WriteMessages(ctx, messages[middle:]...)
}

func read(ctx context.Context, asked wire.Request) (wire.Answer, error) {
	config := kafka.ReaderConfig{Brokers: wire.Brokers(), Topic: asked.Topic, MaxWait: 200 * time.Millisecond}
	if asked.Do == "subscribe" {
		config.GroupID, config.StartOffset = asked.Group, kafka.FirstOffset
		config.ErrorLogger = kafka.LoggerFunc(func(words string, more ...interface{}) {
			fmt.Fprintf(os.Stderr, words+"\n", more...)
		})
	}
	reader := kafka.NewReader(config)
	defer reader.Close()
	var err error
	switch asked.Do {
	case "consume":
		err = reader.SetOffset(asked.Offset)
	case "consume_since":
		err = reader.SetOffsetAt(ctx, time.UnixMilli(asked.TimestampMs))
	}
	answer := wire.Answer{}
	for err == nil && len(answer.Values) < asked.Count {
		var message kafka.Message
		if message, err = reader.ReadMessage(ctx); err == nil {
			answer.Values = append(answer.Values, string(message.Value))
		}
	}
	return answer, err
}

func join(ctx context.Context, asked wire.Request) error {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: wire.Brokers(), Topic: asked.Topic, GroupID: asked.Group, StartOffset: kafka.FirstOffset,
		MaxWait: 200 * time.Millisecond,
	})
	defer reader.Close()
	for ctx.Err() == nil {
		message, err := reader.FetchMessage(ctx)
		if err == nil {
			wire.Read(message.Partition, message.Value)
			err = reader.CommitMessages(context.Background(), message)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	return nil
}

func main() { wire.Serve(do) }
