package badger

import (
	"crypto/sha256"
	"encoding/binary"
)

// The first byte of a key says what its record is. FORMAT.md draws them all.
const (
	keyAcks         = 'a' // + id: acknowledgements and received identifiers of one group
	keyBody         = 'b' // + id + part: the messages of a chunk, or a large retained message
	keyHead         = 'h' // + id: what is in a chunk, for which queues
	keyJournal      = 'j' // a group too large for one transaction
	keyHook         = 'k' // + hook and key: what a hook keeps
	keyCounter      = 'n' // + name
	keyQueue        = 'q' // + handle: the state of a queue at a checkpoint
	keySession      = 's' // + handle
	keyRetained     = 't' // + topic
	keySubscription = 'u' // + handle + filter
	keyWatermark    = 'w' // every id and handle below it may have been given
	keyFlush        = '~' // written and dropped to make Badger flush
)

// nameMax is the longest topic or filter that stands in a key itself; Badger's keys end at 65000 bytes.
const nameMax = 256

func idKey(kind byte, id uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{kind}, id)
}

func bodyKey(id uint64, part int) []byte {
	return binary.BigEndian.AppendUint16(idKey(keyBody, id), uint16(part))
}

func nameKey(prefix []byte, name string) []byte {
	if len(name) <= nameMax {
		return append(append(prefix, 0), name...)
	}
	sum := sha256.Sum256([]byte(name))
	return append(append(prefix, 1), sum[:]...)
}

func retainedKey(topic string) []byte { return nameKey([]byte{keyRetained}, topic) }

// hookKey is the key of a hook's record. The hook's length stands in front, so that no two pairs are one name.
func hookKey(hook, key string) []byte {
	return nameKey([]byte{keyHook}, string(appendText(nil, hook))+key)
}

func subscriptionKey(handle uint64, filter string) []byte {
	return nameKey(idKey(keySubscription, handle), filter)
}

// keyID is the id or handle behind the first byte of a key; 0 if the key is too short.
func keyID(key []byte) uint64 {
	if len(key) < 9 {
		return 0
	}
	return binary.BigEndian.Uint64(key[1:])
}
