package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// The cost of a new hash: OWASP's second choice for argon2id, the one that is cheap in memory. A login takes
// about 20 ms of one core.
const (
	argon2Memory  = 19 * 1024 // KiB
	argon2Passes  = 2
	argon2Threads = 1
	argon2SaltLen = 16
	argon2KeyLen  = 32
)

// The most a hash in the file may cost, so that a slip of the pen does not take all memory.
const (
	argon2MemoryMax  = 256 * 1024 // KiB
	argon2PassesMax  = 100
	argon2ThreadsMax = 16
)

const argon2Prefix = "$argon2id$"

// base64 of the PHC string format: no padding, one way to write each value.
var phc64 = base64.RawStdEncoding.Strict()

// An argon2id is a password's hash with all that is needed to compute it again.
type argon2id struct {
	memory  uint32 // KiB
	passes  uint32
	threads uint8
	salt    []byte
	key     []byte
}

// newArgon2id hashes a password with a new salt.
func newArgon2id(password []byte) argon2id {
	h := argon2id{memory: argon2Memory, passes: argon2Passes, threads: argon2Threads, salt: make([]byte, argon2SaltLen)}
	rand.Read(h.salt)
	h.key = h.compute(password, argon2KeyLen)
	return h
}

func (h argon2id) compute(password []byte, keyLen int) []byte {
	return argon2.IDKey(password, h.salt, h.passes, h.memory, h.threads, uint32(keyLen))
}

// matches reports whether the password is the one that was hashed. Its time depends on the cost alone.
func (h argon2id) matches(password []byte) bool {
	return subtle.ConstantTimeCompare(h.compute(password, len(h.key)), h.key) == 1
}

// String is the hash in the PHC string format.
func (h argon2id) String() string {
	return fmt.Sprintf("%sv=%d$m=%d,t=%d,p=%d$%s$%s", argon2Prefix, argon2.Version,
		h.memory, h.passes, h.threads, phc64.EncodeToString(h.salt), phc64.EncodeToString(h.key))
}

// parseArgon2id reads what String writes, and only that.
func parseArgon2id(s string) (argon2id, error) {
	var h argon2id
	var version int
	rest, ok := strings.CutPrefix(s, argon2Prefix)
	parts := strings.Split(rest, "$")
	if !ok || len(parts) != 4 {
		return h, errors.New("expected $argon2id$v=19$m=…,t=…,p=…$salt$hash")
	}
	if _, err := fmt.Sscanf(parts[0]+" "+parts[1], "v=%d m=%d,t=%d,p=%d", &version, &h.memory, &h.passes, &h.threads); err != nil {
		return h, errors.New("argon2id parameters: expected v=19$m=…,t=…,p=…")
	}
	if version != argon2.Version {
		return h, fmt.Errorf("argon2id version %d: expected %d", version, argon2.Version)
	}
	if err := h.checkCost(); err != nil {
		return h, err
	}
	var err error
	if h.salt, err = parseBytes(parts[2], 8, 64); err != nil {
		return h, fmt.Errorf("argon2id salt: %w", err)
	}
	if h.key, err = parseBytes(parts[3], 16, 64); err != nil {
		return h, fmt.Errorf("argon2id hash: %w", err)
	}
	if h.String() != s { // Sscanf takes signs, leading zeros and trailing text
		return h, errors.New("argon2id parameters: expected plain numbers, as in m=19456,t=2,p=1")
	}
	return h, nil
}

func (h argon2id) checkCost() error {
	if h.threads < 1 || h.threads > argon2ThreadsMax {
		return fmt.Errorf("argon2id p=%d: expected 1 to %d", h.threads, argon2ThreadsMax)
	}
	if h.passes < 1 || h.passes > argon2PassesMax {
		return fmt.Errorf("argon2id t=%d: expected 1 to %d", h.passes, argon2PassesMax)
	}
	if least := 8 * uint32(h.threads); h.memory < least || h.memory > argon2MemoryMax {
		return fmt.Errorf("argon2id m=%d: expected %d to %d KiB", h.memory, least, argon2MemoryMax)
	}
	return nil
}

func parseBytes(s string, least, most int) ([]byte, error) {
	b, err := phc64.DecodeString(s)
	if err != nil {
		return nil, errors.New("expected base64 without padding")
	}
	if len(b) < least || len(b) > most {
		return nil, fmt.Errorf("%d bytes: expected %d to %d", len(b), least, most)
	}
	return b, nil
}
