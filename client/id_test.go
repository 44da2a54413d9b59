package client

import (
	"regexp"
	"testing"
)

func TestNewID(t *testing.T) {
	if a, b := NewID(), NewID(); a == b || !regexp.MustCompile(`^[0-9a-z]{23}$`).MatchString(a) {
		t.Errorf("got %q and %q", a, b)
	}
}
