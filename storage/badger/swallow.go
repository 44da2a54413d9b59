package badger

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
)

// swallowed is Badger's logger. It remembers errors that Badger only logs but that mean that a write is not safe: when the
// fsync of a value log file fails, its Commit returns nil all the same (4.9.6, value.go, valueLog.write).
type swallowed struct {
	log   *slog.Logger
	first atomic.Pointer[error]
}

// fatalWords begin the messages of errors that a write must not survive.
var fatalWords = []string{"Error while curlf sync", "writeRequests"}

func (l *swallowed) get() error {
	if err := l.first.Load(); err != nil {
		return *err
	}
	return nil
}

// Errorf implements badger.Logger.
func (l *swallowed) Errorf(format string, values ...any) {
	err := fmt.Errorf(strings.TrimSpace(format), values...)
	for _, words := range fatalWords {
		if strings.HasPrefix(format, words) {
			l.first.CompareAndSwap(nil, &err)
		}
	}
	l.log.Error("storage: badger", "err", err)
}

// Warningf implements badger.Logger.
func (l *swallowed) Warningf(format string, values ...any) {
	l.log.Warn("storage: badger", "reason", strings.TrimSpace(fmt.Sprintf(format, values...)))
}

// Infof implements badger.Logger; Badger tells much that no operator asked for.
func (l *swallowed) Infof(string, ...any) {}

// Debugf implements badger.Logger.
func (l *swallowed) Debugf(string, ...any) {}
