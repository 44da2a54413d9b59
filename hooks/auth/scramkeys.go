package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/xdg-go/scram"
)

// The cost of new SCRAM keys. The client pays it at each login, the broker never does; RFC 7677 asks
// for 4096 at least.
const (
	scramIterations    = 100_000
	scramIterationsMin = 4096
	scramIterationsMax = 10_000_000
	scramSaltLen       = 16
)

const scramPrefix = "$scram-sha-256$"

// scramKeys are what a server keeps of a password to check and to give a SCRAM-SHA-256 proof.
type scramKeys = scram.StoredCredentials

// newSCRAMKeys derives the keys of a password with a new salt.
func newSCRAMKeys(password string) (scramKeys, error) {
	salt := make([]byte, scramSaltLen)
	rand.Read(salt)
	client, err := scram.SHA256.NewClient("", password, "")
	if err != nil {
		// SASLprep has no form for this password, an emoji for instance. A client that
		// accepts it at all sends it unprepared.
		if client, err = scram.SHA256.NewClientUnprepped("", password, ""); err != nil {
			return scramKeys{}, err
		}
	}
	return client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: scramIterations})
}

func formatSCRAMKeys(k scramKeys) string {
	return fmt.Sprintf("%si=%d$%s$%s$%s", scramPrefix, k.Iters,
		phc64.EncodeToString([]byte(k.Salt)), phc64.EncodeToString(k.StoredKey), phc64.EncodeToString(k.ServerKey))
}

// parseSCRAMKeys reads what formatSCRAMKeys writes, and only that.
func parseSCRAMKeys(s string) (scramKeys, error) {
	var k scramKeys
	rest, ok := strings.CutPrefix(s, scramPrefix)
	parts := strings.Split(rest, "$")
	if !ok || len(parts) != 4 {
		return k, errors.New("expected $scram-sha-256$i=…$salt$storedkey$serverkey")
	}
	if _, err := fmt.Sscanf(parts[0], "i=%d", &k.Iters); err != nil {
		return k, errors.New("scram-sha-256 parameters: expected i=…")
	}
	if k.Iters < scramIterationsMin || k.Iters > scramIterationsMax {
		return k, fmt.Errorf("scram-sha-256 i=%d: expected %d to %d", k.Iters, scramIterationsMin, scramIterationsMax)
	}
	salt, err := parseBytes(parts[1], 8, 64)
	if err != nil {
		return k, fmt.Errorf("scram-sha-256 salt: %w", err)
	}
	k.Salt = string(salt)
	if k.StoredKey, err = parseBytes(parts[2], sha256.Size, sha256.Size); err != nil {
		return k, fmt.Errorf("scram-sha-256 stored key: %w", err)
	}
	if k.ServerKey, err = parseBytes(parts[3], sha256.Size, sha256.Size); err != nil {
		return k, fmt.Errorf("scram-sha-256 server key: %w", err)
	}
	if formatSCRAMKeys(k) != s { // Sscanf takes signs, leading zeros and trailing text
		return k, errors.New("scram-sha-256 parameters: expected a plain number, as in i=100000")
	}
	return k, nil
}
