package packet

import "fmt"

// A Code is an MQTT 5 reason code (MQTT 5, table 2-6). Codes from 0x80 on are failures.
type Code byte

// The reason codes of MQTT 5.
const (
	Success                             Code = 0x00 // also normal disconnection
	GrantedQoS0                         Code = 0x00
	GrantedQoS1                         Code = 0x01
	GrantedQoS2                         Code = 0x02
	DisconnectWithWill                  Code = 0x04
	NoMatchingSubscribers               Code = 0x10
	NoSubscriptionExisted               Code = 0x11
	ContinueAuthentication              Code = 0x18
	ReAuthenticate                      Code = 0x19
	UnspecifiedError                    Code = 0x80
	MalformedPacket                     Code = 0x81
	ProtocolError                       Code = 0x82
	ImplementationError                 Code = 0x83
	UnsupportedProtocolVersion          Code = 0x84
	ClientIdentifierNotValid            Code = 0x85
	BadUserNameOrPassword               Code = 0x86
	NotAuthorized                       Code = 0x87
	ServerUnavailable                   Code = 0x88
	ServerBusy                          Code = 0x89
	Banned                              Code = 0x8A
	ServerShuttingDown                  Code = 0x8B
	BadAuthenticationMethod             Code = 0x8C
	KeepAliveTimeout                    Code = 0x8D
	SessionTakenOver                    Code = 0x8E
	TopicFilterInvalid                  Code = 0x8F
	TopicNameInvalid                    Code = 0x90
	PacketIdentifierInUse               Code = 0x91
	PacketIdentifierNotFound            Code = 0x92
	ReceiveMaximumExceeded              Code = 0x93
	TopicAliasInvalid                   Code = 0x94
	PacketTooLarge                      Code = 0x95
	MessageRateTooHigh                  Code = 0x96
	QuotaExceeded                       Code = 0x97
	AdministrativeAction                Code = 0x98
	PayloadFormatInvalid                Code = 0x99
	RetainNotSupported                  Code = 0x9A
	QoSNotSupported                     Code = 0x9B
	UseAnotherServer                    Code = 0x9C
	ServerMoved                         Code = 0x9D
	SharedSubscriptionsNotSupported     Code = 0x9E
	ConnectionRateExceeded              Code = 0x9F
	MaximumConnectTime                  Code = 0xA0
	SubscriptionIdentifiersNotSupported Code = 0xA1
	WildcardSubscriptionsNotSupported   Code = 0xA2
)

var codeText = map[Code]string{
	Success: "success", GrantedQoS1: "granted QoS 1", GrantedQoS2: "granted QoS 2",
	DisconnectWithWill: "disconnect with will message", NoMatchingSubscribers: "no matching subscribers",
	NoSubscriptionExisted: "no subscription existed", ContinueAuthentication: "continue authentication",
	ReAuthenticate: "re-authenticate", UnspecifiedError: "unspecified error", MalformedPacket: "malformed packet",
	ProtocolError: "protocol error", ImplementationError: "implementation specific error",
	UnsupportedProtocolVersion: "unsupported protocol version", ClientIdentifierNotValid: "client identifier not valid",
	BadUserNameOrPassword: "bad user name or password", NotAuthorized: "not authorized",
	ServerUnavailable: "server unavailable", ServerBusy: "server busy", Banned: "banned",
	ServerShuttingDown: "server shutting down", BadAuthenticationMethod: "bad authentication method",
	KeepAliveTimeout: "keep alive timeout", SessionTakenOver: "session taken over",
	TopicFilterInvalid: "topic filter invalid", TopicNameInvalid: "topic name invalid",
	PacketIdentifierInUse: "packet identifier in use", PacketIdentifierNotFound: "packet identifier not found",
	ReceiveMaximumExceeded: "receive maximum exceeded", TopicAliasInvalid: "topic alias invalid",
	PacketTooLarge: "packet too large", MessageRateTooHigh: "message rate too high", QuotaExceeded: "quota exceeded",
	AdministrativeAction: "administrative action", PayloadFormatInvalid: "payload format invalid",
	RetainNotSupported: "retain not supported", QoSNotSupported: "QoS not supported",
	UseAnotherServer: "use another server", ServerMoved: "server moved",
	SharedSubscriptionsNotSupported: "shared subscriptions not supported",
	ConnectionRateExceeded:          "connection rate exceeded", MaximumConnectTime: "maximum connect time",
	SubscriptionIdentifiersNotSupported: "subscription identifiers not supported",
	WildcardSubscriptionsNotSupported:   "wildcard subscriptions not supported",
}

// String is the specification's name of the code in lower case.
func (c Code) String() string {
	if s, ok := codeText[c]; ok {
		return s
	}
	return fmt.Sprintf("reason code 0x%02x", byte(c))
}

// Failed reports whether the code is a failure (MQTT 5, 2.4).
func (c Code) Failed() bool { return c >= 0x80 }

// A Refusal is an error that is the client's fault. It ends the connection with
// its code, or refuses one request with it.
type Refusal struct {
	Code Code
	Text string // what was wrong, for the log and the reason string
}

// Refuse makes a Refusal.
func Refuse(code Code, text string) *Refusal { return &Refusal{Code: code, Text: text} }

// Error is the text with the code's name in front.
func (r *Refusal) Error() string { return r.Code.String() + ": " + r.Text }
