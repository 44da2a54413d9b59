package packet

// DecodeEmpty reads the body of a PINGREQ packet, which has none (MQTT 5, 3.12.2, 3.12.3).
func DecodeEmpty(body []byte) error {
	if len(body) > 0 {
		return Refuse(MalformedPacket, "PINGREQ: bytes after the fixed header")
	}
	return nil
}

// AppendPingresp appends a PINGRESP packet [MQTT5-3.12.4-1].
func AppendPingresp(dst []byte) []byte { return append(dst, byte(PINGRESP)<<4, 0) }
