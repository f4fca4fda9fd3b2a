// KafkaJS behind the requests of ../programs.py.
import kafkajs from 'kafkajs'
import snappy from 'kafkajs-snappy'
import { brokers, Cannot, inHalves, read as hasRead, serve, toldToLeave } from './wire.mjs'

const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = kafkajs
CompressionCodecs[CompressionTypes.Snappy] = snappy
const codecs = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy }

const withoutCodecs = 'leaves this codec to packages that build native code'

const logCreator = () => ({ label, log }) => process.stderr.write(`${label} ${log.message} ${log.error ?? ''}\n`)
const kafka = new Kafka({ clientId: 'compat', brokers, logCreator, logLevel: logLevel.WARN, retry: { retries: 30 } })

async function withAdmin (work) {
  const admin = kafka.admin()
  await admin.connect()
  try {
    return await work(admin)
  } finally {
    await admin.disconnect()
  }
}

// KafkaJS has no assignment: whoever reads is a member of a group, and seeks once it has joined.
async function read ({ topic, count, group }, offset) {
  const consumer = kafka.consumer({ groupId: group ?? `reader-${Date.now()}`, allowAutoTopicCreation: false })
  const values = []
  try {
    await consumer.connect()
    await consumer.subscribe({ topics: [topic], fromBeginning: true })
    await new Promise((resolve, reject) => {
      consumer.on(consumer.events.CRASH, ({ payload }) => reject(
        payload.error.name === 'KafkaJSNotImplemented' ? new Cannot(withoutCodecs) : payload.error
      ))
      consumer.run({
        eachMessage: async ({ partition, message }) => {
          if (values.length < count) values.push([partition, message.value.toString()])
          if (values.length === count) resolve()
        }
      }).catch(reject)
      if (offset !== undefined) consumer.seek({ topic, partition: 0, offset: String(offset) })
    })
  } finally {
    await consumer.disconnect()
  }
  return { values: values.map(([, value]) => value) }
}

serve({
  create_topic: ({ topic, partitions }) => withAdmin(async admin => {
    await admin.createTopics({ topics: [{ topic, numPartitions: partitions, replicationFactor: 3 }] })
  }),
  delete_topic: ({ topic }) => withAdmin(async admin => { await admin.deleteTopics({ topics: [topic] }) }),
  grow_topic: ({ topic, partitions }) => withAdmin(async admin => {
    await admin.createPartitions({ topicPartitions: [{ topic, count: partitions }] })
  }),
  alter_topic: ({ topic, configs }) => withAdmin(async admin => {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    await admin.alterConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }] })
  }),
  topic_configs: ({ topic }) => withAdmin(async admin => {
    const found = await admin.describeConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }] })
    const entries = found.resources[0].configEntries.map(({ configName, configValue }) => [configName, configValue])
    return { configs: Object.fromEntries(entries) }
  }),
  produce: async ({ topic, values, codec }) => {
    if (!(codec in codecs)) throw new Cannot(withoutCodecs)
    const producer = kafka.producer({ idempotent: true, createPartitioner: () => () => 0 })
    await producer.connect()
    try {
      await inHalves(values, half => producer.send({
        topic, acks: -1, compression: codecs[codec], messages: half.map(value => ({ value }))
      }))
    } finally {
      await producer.disconnect()
    }
  },
  consume: asked => read(asked, asked.offset),
  consume_since: async asked => {
    const [{ offset }] = await withAdmin(admin => admin.fetchTopicOffsetsByTimestamp(asked.topic, asked.timestamp_ms))
    return read(asked, offset)
  },
  subscribe: asked => read(asked),
  join: async ({ topic, group }) => {
    const consumer = kafka.consumer({ groupId: group, allowAutoTopicCreation: false })
    await consumer.connect()
    await consumer.subscribe({ topics: [topic], fromBeginning: true })
    await consumer.run({
      eachMessage: async ({ partition, message }) => hasRead(partition, message.value.toString())
    })
    await toldToLeave()
    await consumer.disconnect()
  }
})
