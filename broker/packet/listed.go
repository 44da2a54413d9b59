package packet

import "slices"

// publishFailures are the failures that an answer to PUBLISH may carry (MQTT 5, tables 3-4 and 3-5).
var publishFailures = []Code{
	UnspecifiedError, ImplementationError, NotAuthorized, TopicNameInvalid, PacketIdentifierInUse, QuotaExceeded,
	PayloadFormatInvalid,
}

// serverFailures are the failures that the specification lists for each packet a server sends.
var serverFailures = map[Type][]Code{
	CONNACK: { // MQTT 5, table 3-1
		UnspecifiedError, MalformedPacket, ProtocolError, ImplementationError, UnsupportedProtocolVersion,
		ClientIdentifierNotValid, BadUserNameOrPassword, NotAuthorized, ServerUnavailable, ServerBusy, Banned,
		BadAuthenticationMethod, TopicNameInvalid, PacketTooLarge, QuotaExceeded, PayloadFormatInvalid, RetainNotSupported,
		QoSNotSupported, UseAnotherServer, ServerMoved, ConnectionRateExceeded,
	},
	PUBACK: publishFailures,
	PUBREC: publishFailures,
	SUBACK: { // MQTT 5, table 3-8
		UnspecifiedError, ImplementationError, NotAuthorized, TopicFilterInvalid, PacketIdentifierInUse, QuotaExceeded,
		SharedSubscriptionsNotSupported, SubscriptionIdentifiersNotSupported, WildcardSubscriptionsNotSupported,
	},
	UNSUBACK: { // MQTT 5, table 3-9
		UnspecifiedError, ImplementationError, NotAuthorized, TopicFilterInvalid, PacketIdentifierInUse,
	},
	DISCONNECT: { // MQTT 5, table 3-10, and 0x8C of table 2-6
		UnspecifiedError, MalformedPacket, ProtocolError, ImplementationError, NotAuthorized, ServerBusy, ServerShuttingDown,
		BadAuthenticationMethod, KeepAliveTimeout, SessionTakenOver, TopicFilterInvalid, TopicNameInvalid,
		ReceiveMaximumExceeded, TopicAliasInvalid, PacketTooLarge, MessageRateTooHigh, QuotaExceeded, AdministrativeAction,
		PayloadFormatInvalid, RetainNotSupported, QoSNotSupported, UseAnotherServer, ServerMoved,
		SharedSubscriptionsNotSupported, ConnectionRateExceeded, MaximumConnectTime,
		SubscriptionIdentifiersNotSupported, WildcardSubscriptionsNotSupported,
	},
	PUBREL:  {PacketIdentifierNotFound},
	PUBCOMP: {PacketIdentifierNotFound},
}

// listed returns a code as a packet of the type may carry it: a failure that is not listed for it, which
// only a hook can ask for, becomes UnspecifiedError [MQTT5-3.2.2-8] [MQTT5-3.4.2-1] [MQTT5-3.5.2-1]
// [MQTT5-3.9.3-2] [MQTT5-3.11.3-2] [MQTT5-3.14.2-1].
func (t Type) listed(c Code) Code {
	if !c.Failed() || slices.Contains(serverFailures[t], c) {
		return c
	}
	return UnspecifiedError
}
