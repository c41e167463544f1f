// A downstream channel service, as another team would write it: knows the registry and the topics, and
// nothing of ours. Reads actions, "sends" each once, and reports what became of it as an ordinary event.
//
//   node channel_service.js BOOTSTRAP REGISTRY ACTIONS EVENTS COUNT
//
// Prints one line of JSON for each action that it has seen; ends after COUNT receipts.
import { createHash } from 'node:crypto'
import { SchemaRegistry } from '@kafkajs/confluent-schema-registry'
import kafkajs from 'kafkajs'
import lz4 from 'lz4js'

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = kafkajs
// Records are compressed with LZ4; Java and librdkafka read it by themselves, kafkajs needs a codec.
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async ({ buffer }) => Buffer.from(lz4.compress(buffer)),
  decompress: async (buffer) => Buffer.from(lz4.decompress(buffer))
})

process.env.KAFKAJS_NO_PARTITIONER_WARNING = '1'
const [bootstrap, registryUrl, actions, events, count] = process.argv.slice(2)
const registry = new SchemaRegistry({ host: registryUrl })
const kafka = new Kafka({ brokers: [bootstrap], clientId: 'channel-service', logLevel: logLevel.WARN })
const consumer = kafka.consumer({ groupId: `${actions}-service`, readUncommitted: false })
const producer = kafka.producer() // its default partitioner is Java's murmur2
const eventSchema = await registry.getLatestSchemaId(`${events}-journey.Event`)
const sent = new Set() // a real service keeps this in its database, under a unique key

const text = (name, value) => ({ [name]: value })
const receiptId = (action, status) =>
  createHash('sha256').update(['receipt', action, status].join('\x1f')).digest('hex').slice(0, 32)

async function report(action, status, reason) {
  const event = {
    event_id: receiptId(action.action_id, status),
    type: `message.${status}`,
    occurred_at: Date.now(),
    identities: { customer: action.customer_id },
    source: 'channel-service',
    properties: {
      action_id: text('string', action.action_id),
      channel: text('string', action.channel),
      ...(reason ? { reason: text('string', reason) } : {})
    }
  }
  const value = await registry.encode(eventSchema, event)
  await producer.send({ topic: events, acks: -1, messages: [{ key: `customer:${action.customer_id}`, value }] })
}

let receipts = 0
await producer.connect()
await consumer.connect()
await consumer.subscribe({ topic: actions, fromBeginning: true })
const done = new Promise((resolve, reject) => {
  consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error))
  consumer.run({
    eachMessage: async ({ message }) => {
      const action = await registry.decode(message.value)
      console.log(JSON.stringify({ key: message.key.toString(), ...action }))
      if (sent.has(action.action_id) || action.kind !== 'send') return
      sent.add(action.action_id)
      const late = action.expires_at !== null && Date.now() >= Number(action.expires_at)
      await report(action, late ? 'dropped' : 'accepted', late ? 'window' : undefined)
      receipts += 1
      if (receipts >= Number(count)) resolve()
    }
  })
})
await done
await consumer.disconnect()
await producer.disconnect()
