package archive

import (
	"fmt"
	"time"

	"github.com/penstockmq/penstock/client"
)

// A Format is what a message looks like in a file.
type Format byte

// The formats.
const (
	Raw  Format = iota // the payload and the end of a line
	JSON               // a line of JSON with all of the message
)

// ParseFormat reads the name of a format.
func ParseFormat(text string) (Format, error) {
	switch text {
	case "raw":
		return Raw, nil
	case "json":
		return JSON, nil
	}
	return 0, fmt.Errorf("expected raw or json, got %q", text)
}

// append appends a message and the end of the line.
func (f Format) append(dst []byte, m *client.Message, at time.Time) ([]byte, error) {
	if f == JSON {
		line, err := client.AppendRecord(dst, m, at)
		return append(line, '\n'), err
	}
	return append(append(dst, m.Payload...), '\n'), nil
}

// The endings of files that are not finished. They say how to find out what of a file is whole,
// whatever the options of the process that finds it.
const (
	endingText = ".part-text"
	endingJSON = ".part-json"
	endingGzip = ".part-gzip"
)

func (f Format) ending(compressed bool) string {
	switch {
	case compressed:
		return endingGzip
	case f == JSON:
		return endingJSON
	}
	return endingText
}
