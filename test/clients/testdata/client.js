// A client of MQTT.js that does what lines of JSON on stdin say (see process_test.go).
'use strict'

const mqtt = require('mqtt')
const readline = require('readline')
const { once } = require('events')

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')
const base64 = (buffer) => Buffer.from(buffer).toString('base64')
const bytes = (text) => Buffer.from(text || '', 'base64')

let client
let v5 = false

function toProperties (given) {
  const props = {}
  if (given.content_type) props.contentType = given.content_type
  if (given.response_topic) props.responseTopic = given.response_topic
  if (given.correlation_data) props.correlationData = bytes(given.correlation_data)
  if (given.payload_format) props.payloadFormatIndicator = true
  if (given.expiry) props.messageExpiryInterval = given.expiry
  if (given.user) {
    props.userProperties = {}
    for (const [key, value] of given.user) (props.userProperties[key] ||= []).push(value)
  }
  return props
}

function fromProperties (props) {
  const found = {}
  if (props.contentType) found.content_type = props.contentType
  if (props.responseTopic) found.response_topic = props.responseTopic
  if (props.correlationData) found.correlation_data = base64(props.correlationData)
  if (props.payloadFormatIndicator) found.payload_format = 1
  if (props.messageExpiryInterval !== undefined) found.expiry = props.messageExpiryInterval
  if (props.userProperties) {
    found.user = Object.entries(props.userProperties).flatMap(([key, values]) => [].concat(values).map((v) => [key, v]))
  }
  if (props.subscriptionIdentifier) found.subscription_id = [].concat(props.subscriptionIdentifier)[0]
  return found
}

function received (topic, payload, packet) {
  const message = { topic, payload: base64(payload), qos: packet.qos, retain: packet.retain }
  if (v5) message.properties = fromProperties(packet.properties || {})
  say({ message })
}

const actions = {
  async connect (request) {
    v5 = request.version === 5
    const o = request.options
    const options = {
      clientId: o.id,
      clean: o.clean,
      protocolVersion: request.version,
      protocolId: request.version === 3 ? 'MQIsdp' : 'MQTT',
      reconnectPeriod: 0,
      connectTimeout: 20000
    }
    if (v5) options.properties = { sessionExpiryInterval: o.expiry }
    if (o.will) {
      options.will = { topic: o.will.topic, payload: bytes(o.will.payload), qos: o.will.qos, retain: o.will.retain }
      if (v5) options.will.properties = { willDelayInterval: o.will_delay || 0 }
    }
    const path = request.transport === 'ws' ? '/mqtt' : ''
    client = mqtt.connect(`${request.transport}://${request.host}:${request.port}${path}`, options)
    client.on('message', received)
    const [connack] = await once(client, 'connect') // rejects on 'error'
    client.on('error', (err) => say({ error: String(err) }))
    return { present: connack.sessionPresent }
  },
  async subscribe ({ subscribe }) {
    const options = { qos: subscribe.qos }
    if (subscribe.subscription_id) options.properties = { subscriptionIdentifier: subscribe.subscription_id }
    const granted = await client.subscribeAsync(subscribe.filter, options)
    if (granted[0].qos !== subscribe.qos) throw new Error(`SUBACK ${granted[0].qos}`)
  },
  async unsubscribe ({ filter }) {
    await client.unsubscribeAsync(filter)
  },
  async publish ({ message }) {
    const options = { qos: message.qos, retain: message.retain }
    if (message.properties) options.properties = toProperties(message.properties)
    await client.publishAsync(message.topic, bytes(message.payload), options)
  },
  async disconnect () {
    await client.endAsync()
  }
}

async function serve () {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line)
    try {
      say({ done: request.do, ...await actions[request.do](request) })
    } catch (err) {
      say({ done: request.do, error: String(err) })
    }
  }
  process.exit(0)
}

serve()
