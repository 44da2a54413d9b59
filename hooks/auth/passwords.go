package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/penstockmq/penstock/broker/packet"
	"github.com/penstockmq/penstock/hooks"
)

// hashesMax bounds how many passwords are hashed at once, and with it the memory a storm of logins
// can take: 19 MiB each. More than there are cores would only make each of them slower.
const hashesMax = 8

// Passwords is the hook that checks username and password against a password file. Clients without a
// username are left to the next hook.
type Passwords struct {
	path    string
	current atomic.Pointer[accounts]
	slots   chan struct{} // one for each hash being computed
	reload  sync.Mutex    // held by Reload
}

// accounts are the accounts of one reading of the file. They do not change.
type accounts struct {
	byName map[string]*account
	// decoy is hashed with for names that do not exist, so that they cost what the others cost.
	decoy argon2id
	// secret makes the salts SCRAM shows for names that do not exist. It comes from the file, so that these
	// salts survive a restart, and from a part of it that no client ever sees.
	secret [sha256.Size]byte
	// iterations are what SCRAM asks for names that do not exist: those of the first account that has keys.
	iterations int
}

// LoadPasswords reads a password file. An error names the file and the line.
func LoadPasswords(path string) (*Passwords, error) {
	p := &Passwords{path: path, slots: make(chan struct{}, min(hashesMax, runtime.GOMAXPROCS(0)))}
	if _, err := p.Reload(); err != nil {
		return nil, err
	}
	return p, nil
}

// Reload reads the file again. On error the accounts stay as they were. changed are the users that
// went or whose password or groups changed, in order: their connections rest on what is no longer true.
func (p *Passwords) Reload() (changed []string, err error) {
	p.reload.Lock()
	defer p.reload.Unlock()
	data, err := os.ReadFile(p.path)
	if err != nil {
		return nil, fmt.Errorf("password file: %w", err)
	}
	file, err := parsePasswordFile(p.path, data)
	if err != nil {
		return nil, fmt.Errorf("password file: %w", err)
	}
	next := newAccounts(file)
	if old := p.current.Swap(next); old != nil {
		changed = old.changedIn(next)
	}
	return changed, nil
}

func newAccounts(f *passwordFile) *accounts {
	as := &accounts{
		byName: make(map[string]*account),
		decoy: argon2id{
			memory: argon2Memory, passes: argon2Passes, threads: argon2Threads,
			salt: make([]byte, argon2SaltLen), key: make([]byte, argon2KeyLen),
		},
	}
	rand.Read(as.secret[:])
	for _, l := range f.lines {
		if a := l.account; a != nil {
			as.add(a)
		}
	}
	if as.iterations == 0 {
		as.iterations = scramIterations
	}
	return as
}

// add takes an account in. The first of the file shapes what is shown for names that do not exist.
func (as *accounts) add(a *account) {
	if len(as.byName) == 0 {
		as.decoy = a.hash
		as.secret = sha256.Sum256([]byte("penstock decoy salts" + string(a.hash.salt) + string(a.hash.key)))
	}
	if as.iterations == 0 && a.scram != nil {
		as.iterations = a.scram.Iters
	}
	as.byName[a.name] = a
}

// changedIn are the users that next lacks or has with another line.
func (as *accounts) changedIn(next *accounts) []string {
	var names []string
	for name, a := range as.byName {
		if !next.has(a) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// has reports whether the account is still there unchanged.
func (as *accounts) has(a *account) bool {
	same := as.byName[a.name]
	return same != nil && (same == a || same.String() == a.String())
}

// Name identifies the hook.
func (p *Passwords) Name() string { return "passwords" }

// Authenticate checks what the client showed. It sets the client's username and groups.
func (p *Passwords) Authenticate(ctx context.Context, c *hooks.Client, cred hooks.Credentials) hooks.Decision {
	if !cred.HasUsername {
		return hooks.Decision{}
	}
	if !cred.HasPassword {
		return hooks.Decision{Verdict: hooks.Deny, Code: packet.BadUserNameOrPassword, Reason: "username without a password"}
	}
	as := p.current.Load()
	a, known := as.byName[cred.Username]
	hash := as.decoy
	if known {
		hash = a.hash
	}
	matches, err := p.check(ctx, hash, cred.Password)
	if err != nil {
		return hooks.Decision{Verdict: hooks.Deny, Code: packet.ServerBusy, Reason: "too many logins at once"}
	}
	// A reload while the hash was computed counts: its caller disconnects only who is connected.
	if !known || !matches || !p.current.Load().has(a) {
		return hooks.Decision{Verdict: hooks.Deny, Code: packet.BadUserNameOrPassword, Reason: "bad user name or password"}
	}
	a.take(c)
	return hooks.Decision{Verdict: hooks.Allow}
}

// check computes the hash of a password when one of the slots is free. It fails when ctx ends first.
func (p *Passwords) check(ctx context.Context, hash argon2id, password []byte) (bool, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-p.slots }()
	if ctx.Err() != nil { // both were ready
		return false, ctx.Err()
	}
	return hash.matches(password), nil
}
