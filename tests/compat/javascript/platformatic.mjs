// @platformatic/kafka behind the requests of ../programs.py.
import { Admin, ConfigResourceTypes, Consumer, Producer, stringDeserializers, stringSerializers } from '@platformatic/kafka'
import zlib from 'node:zlib'
import { brokers, Cannot, inHalves, PATIENCE_MS, read as hasRead, serve, toldToLeave } from './wire.mjs'

const known = { clientId: 'compat', bootstrapBrokers: brokers, retries: 2, retryDelay: 250, metadataMaxAge: 500 }

// Its own retries go to the leader that it knew when it began, dead or not: who calls it tries again.
async function persistently (work) {
  for (const began = Date.now(); ;) {
    try {
      return await work()
    } catch (error) {
      if (Date.now() - began > PATIENCE_MS / 2) throw error
      process.stderr.write(`again after: ${error}\n`)
    }
  }
}

async function closing (client, work, ...force) {
  try {
    return await work(client)
  } finally {
    await client.close(...force)
  }
}
const withAdmin = work => closing(new Admin({ ...known, strict: true }), work)
const withConsumer = (group, work) =>
  closing(new Consumer({ ...known, groupId: group, deserializers: stringDeserializers }), work, true)

// It has no assignment: whoever reads is a member of a group.
const withoutZstd = 'takes Zstandard from Node.js, from 22.15 on'
async function read (consumer, { topic, count }, where) {
  const values = []
  const stream = await consumer.consume({ topics: [topic], ...where })
  try {
    for await (const message of stream) {
      values.push(message.value)
      if (values.length === count) break
    }
  } catch (error) {
    throw /zstd is not supported/.test(error.message) ? new Cannot(withoutZstd) : error
  }
  return { values }
}
const from = (topic, offset) => ({ mode: 'manual', offsets: [{ topic, partition: 0, offset: BigInt(offset) }] })
const groupOf = asked => asked.group ?? `reader-${Date.now()}`

// It looks for its coordinator among the brokers that live, is not prepared to find it missing, and throws to nobody.
const withoutBroker = 'ends by an error of its own when a broker is gone that it fetches from, or that coordinates'
const join = ({ topic, group }) => withConsumer(group, async consumer => {
  const stream = await consumer.consume({ topics: [topic], mode: 'committed', fallbackMode: 'earliest', autocommit: true })
  stream.on('data', ({ partition, value }) => hasRead(partition, value))
  const broken = new Promise((_resolve, reject) => stream.on('error', reject))
  await Promise.race([toldToLeave(), broken])
  await stream.close()
})

serve({
  create_topic: ({ topic, partitions }) => withAdmin(async admin => {
    await admin.createTopics({ topics: [topic], partitions, replicas: 3 })
  }),
  delete_topic: ({ topic }) => withAdmin(async admin => { await admin.deleteTopics({ topics: [topic] }) }),
  grow_topic: ({ topic, partitions }) => withAdmin(async admin => {
    // It insists on a list of where each new partition goes, here and there on the brokers that there are.
    const { topics, brokers } = await admin.metadata({ topics: [topic] })
    const more = partitions - topics.get(topic).partitionsCount
    const assignments = Array(more).fill({ brokerIds: [...brokers.keys()] })
    await admin.createPartitions({ topics: [{ name: topic, count: partitions, assignments }] })
  }),
  alter_topic: ({ topic, configs }) => withAdmin(async admin => {
    const changes = Object.entries(configs).map(([name, value]) => ({ name, value, configOperation: 0 }))
    await admin.incrementalAlterConfigs({
      resources: [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: topic, configs: changes }]
    })
  }),
  topic_configs: ({ topic }) => withAdmin(async admin => {
    const [found] = await admin.describeConfigs({
      resources: [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: topic, configurationKeys: null }]
    })
    return { configs: Object.fromEntries(found.configs.map(({ name, value }) => [name, value])) }
  }),
  produce: async ({ topic, values, codec }) => {
    if (codec === 'zstd' && !zlib.zstdCompressSync) throw new Cannot(withoutZstd)
    const options = { ...known, serializers: stringSerializers, idempotent: true, compression: codec, autocreateTopics: true }
    await closing(new Producer(options), producer =>
      inHalves(values, half => persistently(() =>
        producer.send({ messages: half.map(value => ({ topic, partition: 0, value })) })
      ))
    )
  },
  consume: asked => withConsumer(groupOf(asked), consumer => read(consumer, asked, from(asked.topic, asked.offset))),
  consume_since: asked => withConsumer(groupOf(asked), async consumer => {
    const timestamp = BigInt(asked.timestamp_ms)
    const offsets = await consumer.listOffsets({ topics: [asked.topic], partitions: { [asked.topic]: [0] }, timestamp })
    return read(consumer, asked, from(asked.topic, offsets.get(asked.topic)[0]))
  }),
  subscribe: asked => withConsumer(asked.group, consumer => read(consumer, asked, { mode: 'committed', fallbackMode: 'earliest' })),
  join: asked => {
    const thrown = new Promise((_resolve, reject) => process.once('uncaughtException', reject))
    return Promise.race([join(asked), thrown]).catch(error => {
      throw /reading 'host'|fetch failed/.test(error.message) ? new Cannot(withoutBroker) : error
    })
  }
})
