// Package packet turns bytes into MQTT packets and back, for versions 3.1, 3.1.1 and 5.
//
// It decodes what a client may send, refusing with a Refusal whatever the
// specification forbids, and encodes what a server may send. Decoding is all its own:
// mochi's decoders would need each rule checked before them, and the check has then read the
// packet. PUBLISH and the acknowledgements, the packets of the hot path, are decoded
// and encoded without allocating. CONNACK, DISCONNECT and AUTH are encoded by
// github.com/mochi-mqtt/server/v2/packets.
//
// It holds no state, does no I/O and knows no session. The syntax of topic names and filters
// is package topic's; what depends on limits, on CONNECT or on earlier packets is the
// broker's.
//
// Its nouns are the Message (what is published), the Code (why something is
// refused) and a struct for each packet. It is tested by tables of bytes named
// after the statements they break, by round trips against mochi's codec, and by fuzzing.
package packet
