package forward

import (
	"net/http"
	"strconv"
	"time"
)

// An outcome is what an answer means for a message.
type outcome struct {
	verdict verdict
	reason  string
	after   time.Duration // how long the endpoint wants to be left alone; 0 if it did not say
}

type verdict byte

const (
	taken verdict = iota
	again         // worth another try
	unwanted
)

// retryAfterMax bounds what an endpoint may ask for.
const retryAfterMax = time.Hour

// judge reads an answer. What is neither a success nor the message's own fault is worth another try; a
// redirection that would lose the message is for somebody to mend.
func judge(status int, header http.Header, now time.Time) outcome {
	o := outcome{verdict: again, reason: strconv.Itoa(status)}
	if text := http.StatusText(status); text != "" {
		o.reason += " " + text
	}
	switch {
	case status >= 200 && status < 300:
		o.verdict = taken
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests:
		o.after = retryAfter(header.Get("Retry-After"), now)
	case status >= 400 && status < 500:
		o.verdict = unwanted
	case status >= 500:
		o.after = retryAfter(header.Get("Retry-After"), now)
	}
	return o
}

// retryAfter reads seconds or a date (RFC 9110, 10.2.3); 0 if there is neither.
func retryAfter(text string, now time.Time) time.Duration {
	var d time.Duration
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		d = time.Duration(seconds) * time.Second
	} else if date, err := http.ParseTime(text); err == nil {
		d = date.Sub(now)
	}
	return min(max(0, d), retryAfterMax)
}
