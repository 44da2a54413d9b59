package forward

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/penstockmq/penstock/client"
)

// newRequest is the request for a message.
func (f *Forwarder) newRequest(ctx context.Context, to *target, d *client.Delivery) (*http.Request, error) {
	address := to.text
	body, contentType := d.Payload, f.options.ContentType
	if d.Properties.ContentType != "" {
		contentType = d.Properties.ContentType
	}
	switch {
	case f.options.Method == http.MethodGet:
		address = strings.Replace(address, "%s", url.QueryEscape(string(d.Payload)), 1)
		body = nil
	case f.options.JSON:
		var err error
		if body, err = client.AppendRecord(nil, &d.Message, d.Received); err != nil {
			return nil, err
		}
		contentType = "application/json"
	}
	r, err := http.NewRequestWithContext(ctx, f.options.Method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil || f.options.Method != http.MethodGet {
		r.Header.Set("Content-Type", headerText(contentType))
	}
	if !f.options.JSON {
		describe(r.Header, &d.Message)
	}
	for name, values := range f.options.Header {
		r.Header[name] = values
	}
	if host := f.options.Header.Get("Host"); host != "" {
		r.Host = host
	}
	return r, nil
}

// describe puts what a message is besides its payload into headers.
func describe(h http.Header, m *client.Message) {
	h.Set("Mqtt-Topic", headerText(m.Topic))
	h.Set("Mqtt-Qos", strconv.Itoa(int(m.QoS)))
	h.Set("Mqtt-Retain", strconv.FormatBool(m.Retain))
	p := &m.Properties
	if p.PayloadFormat != nil {
		h.Set("Mqtt-Payload-Format", strconv.Itoa(int(*p.PayloadFormat)))
	}
	if p.MessageExpiry != nil {
		h.Set("Mqtt-Message-Expiry", strconv.FormatUint(uint64(*p.MessageExpiry), 10))
	}
	if p.ResponseTopic != "" {
		h.Set("Mqtt-Response-Topic", headerText(p.ResponseTopic))
	}
	if p.CorrelationData != nil {
		h.Set("Mqtt-Correlation-Data", base64.StdEncoding.EncodeToString(p.CorrelationData))
	}
	for _, u := range p.User {
		h.Add("Mqtt-User-Property", strings.ReplaceAll(headerText(u.Key), "=", "%3D")+"="+headerText(u.Value))
	}
}

// headerText makes any text fit for a header: what is not printable ASCII, a percent sign, and spaces
// at the ends, which would get lost, become % and two hexadecimal digits.
func headerText(text string) string {
	plain := func(i int) bool {
		c := text[i]
		return c > ' ' && c < utf8.RuneSelf && c != 0x7F && c != '%' || c == ' ' && i > 0 && i < len(text)-1
	}
	var b strings.Builder
	for i := range len(text) {
		if plain(i) {
			b.WriteByte(text[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", text[i])
		}
	}
	return b.String()
}

// answerMax is how much of an answer is read so that its connection can be used again.
const answerMax = 64 << 10

// ask sends a message to a target once.
func (f *Forwarder) ask(ctx context.Context, to *target, d *client.Delivery) outcome {
	ctx, cancel := context.WithTimeout(ctx, f.options.Timeout)
	defer cancel()
	r, err := f.newRequest(ctx, to, d)
	if err != nil {
		return outcome{verdict: unwanted, reason: err.Error()}
	}
	answer, err := f.http.Do(r)
	if err != nil {
		return outcome{verdict: again, reason: plainError(err)}
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, answerMax)) // the status has said it all
	return judge(answer.StatusCode, answer.Header, f.now())
}

// plainError leaves out the URL, which may hold a payload or a password.
func plainError(err error) string {
	if u, ok := err.(*url.Error); ok {
		err = u.Err
	}
	return err.Error()
}

// stay follows only redirections that send the message to another place, not those that ask to GET something instead.
func stay(r *http.Request, via []*http.Request) error {
	if r.Method != via[0].Method || len(via) >= 10 {
		return http.ErrUseLastResponse
	}
	return nil
}
