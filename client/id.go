package client

import (
	"crypto/rand"
	"strings"
)

// NewID makes a client identifier that no other client has, within the 23 letters and digits
// that every broker takes [MQTT311-3.1.3-5].
func NewID() string { return "penstock" + strings.ToLower(rand.Text()[:15]) }
