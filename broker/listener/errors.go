package listener

import "errors"

var (
	errTimeout      = errors.New("not ready for MQTT within limits.connect_timeout")
	errNoUpgrade    = errors.New("no upgrade to WebSocket was asked for")
	errSpoofed      = errors.New("PROXY header announces an address of this machine, but does not come from it")
	errNotStream    = errors.New("PROXY header announces an address that is neither TCP nor a Unix socket")
	errNoBinary     = errors.New("websocket: data frame is not binary") // [MQTT5-6.0.0-1]
	errNotSocket    = errors.New("the file exists and is not a socket")
	errSocketInUse  = errors.New("another process answers on the socket")
	errNoCertInFile = errors.New("no certificate found")
)
