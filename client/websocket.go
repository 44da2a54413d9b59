package client

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/gorilla/websocket"
)

// A webSocket makes the binary frames of a WebSocket one stream of bytes [MQTT5-6.0.0-2]. As a connection it
// has one reader and one writer at a time.
type webSocket struct {
	net.Conn // below the WebSocket: addresses and deadlines
	ws       *websocket.Conn
	frame    io.Reader // what is left of the frame being read; nil between frames
}

// Read reads the next bytes, whatever the frames they come in.
func (s *webSocket) Read(b []byte) (int, error) {
	for {
		if s.frame == nil {
			kind, frame, err := s.ws.NextReader()
			if err != nil {
				return 0, err
			}
			if kind != websocket.BinaryMessage {
				return 0, errors.New("websocket: a frame of text in a stream of packets") // [MQTT5-6.0.0-1]
			}
			s.frame = frame
		}
		n, err := s.frame.Read(b)
		if errors.Is(err, io.EOF) {
			s.frame, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Write sends b as one binary frame.
func (s *webSocket) Write(b []byte) (int, error) {
	if err := s.ws.WriteMessage(websocket.BinaryMessage, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// CloseWrite says that nothing more will come.
func (s *webSocket) CloseWrite() error {
	text := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	return s.ws.WriteControl(websocket.CloseMessage, text, time.Now().Add(farewell))
}
