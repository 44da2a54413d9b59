package packet

import "github.com/mochi-mqtt/server/v2/packets"

// A Connack is the broker's answer to CONNECT. Zero values of the optional fields are not
// sent; of the four Available fields only false is. Before MQTT 5 only the first two exist.
type Connack struct {
	SessionPresent          bool // never sent with a failure [MQTT5-3.2.2-6] [MQTT311-3.2.2-4]
	Code                    Code
	SessionExpiry           *uint32
	ReceiveMaximum          uint16
	MaximumQoS              *byte // sent only if 0 or 1 (MQTT 5, 3.2.2.3.4)
	RetainAvailable         bool
	WildcardAvailable       bool
	SubscriptionIDAvailable bool
	SharedAvailable         bool
	MaximumPacketSize       uint32
	AssignedClientID        string
	TopicAliasMaximum       uint16
	Reason                  string
	User                    []UserProperty
	ServerKeepAlive         *uint16
	ResponseInformation     string
	ServerReference         string
	AuthMethod              string
	AuthData                []byte
}

// AppendConnack appends a CONNACK packet. For MQTT 3.1 and 3.1.1 the code becomes
// the nearest of their return codes: 1 unacceptable protocol version, 2 identifier rejected, 4 bad user name or
// password, 5 not authorized (0x87 not authorized, 0x8A banned, 0x8C bad authentication method),
// and 3 server unavailable for every other failure, because it promises the client nothing and invites no other try.
// Of the flags only Session Present is ever set [MQTT5-3.2.2-1].
func AppendConnack(dst []byte, v Version, c *Connack) []byte {
	if v != V5 {
		flags := byte(0)
		if c.SessionPresent && c.Code == Success && v == V311 { // MQTT 3.1 has no such flag
			flags = 1
		}
		return append(dst, byte(CONNACK)<<4, 2, flags, connectReturnCode(c.Code))
	}
	pk := packets.Packet{ReasonCode: byte(CONNACK.listed(c.Code)), SessionPresent: c.SessionPresent && c.Code == Success}
	pk.Properties = packets.Properties{
		ReceiveMaximum:            c.ReceiveMaximum,
		RetainAvailableFlag:       !c.RetainAvailable,
		WildcardSubAvailableFlag:  !c.WildcardAvailable,
		SubIDAvailableFlag:        !c.SubscriptionIDAvailable,
		SharedSubAvailableFlag:    !c.SharedAvailable,
		MaximumPacketSize:         c.MaximumPacketSize,
		AssignedClientID:          clip(c.AssignedClientID, textMax),
		TopicAliasMaximum:         c.TopicAliasMaximum,
		ReasonString:              clip(c.Reason, reasonMax),
		User:                      userProperties(c.User),
		ResponseInfo:              clip(c.ResponseInformation, textMax),
		ServerReference:           clip(c.ServerReference, textMax),
		AuthenticationMethod:      clip(c.AuthMethod, textMax),
		AuthenticationData:        clipData(c.AuthData),
		SessionExpiryIntervalFlag: c.SessionExpiry != nil,
		ServerKeepAliveFlag:       c.ServerKeepAlive != nil,
		MaximumQosFlag:            c.MaximumQoS != nil && *c.MaximumQoS < 2,
	}
	if c.SessionExpiry != nil {
		pk.Properties.SessionExpiryInterval = *c.SessionExpiry
	}
	if c.ServerKeepAlive != nil {
		pk.Properties.ServerKeepAlive = *c.ServerKeepAlive
	}
	if c.MaximumQoS != nil {
		pk.Properties.MaximumQos = *c.MaximumQoS
	}
	return encode(dst, CONNACK, &pk, (*packets.Packet).ConnackEncode)
}

// connectReturnCode is the MQTT 3.1.1 return code for c (MQTT 3.1.1, table 3.1).
func connectReturnCode(c Code) byte {
	switch c {
	case Success:
		return 0
	case UnsupportedProtocolVersion:
		return 1
	case ClientIdentifierNotValid:
		return 2
	case BadUserNameOrPassword:
		return 4
	case NotAuthorized, Banned, BadAuthenticationMethod:
		return 5
	}
	return 3
}

func userProperties(user []UserProperty) []packets.UserProperty {
	if len(user) == 0 {
		return nil
	}
	all := make([]packets.UserProperty, len(user))
	for i, u := range user {
		all[i] = packets.UserProperty{Key: clip(u.Key, textMax), Val: clip(u.Value, textMax)}
	}
	return all
}
