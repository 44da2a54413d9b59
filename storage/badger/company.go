package badger

import "time"

// Company is what makes an fsync cheap: those who were told of the last group are often back with their next write within
// less time than a commit takes. A commit that begins without them serves few, and they wait for two.
type company struct {
	last   int           // writes that the last group was told of
	took   time.Duration // that commits take, about
	wanted int           // writes that the group waits for
	until  time.Time     // and until when; zero until it is decided
	waits  bool          // it did not come at once
	luck   int           // how often it came of late, less how often not
	turned int           // groups that did not wait for want of luck
}

const (
	companyMost = 4 * time.Millisecond // what a group waits at most
	luckMost    = 4
	luckRetry   = 32 // of so many groups one waits without luck, to see whether it has changed
)

// left is how long a group with so many writes waits for more.
func (c *company) left(writes int, now time.Time) time.Duration {
	if c.until.IsZero() {
		c.until = now
		c.wanted = (c.last + writes) * 3 / 4
		if c.luck > 0 || c.turned >= luckRetry {
			c.until = now.Add(min(c.took, companyMost))
			c.turned = 0
		} else if writes < c.wanted {
			c.turned++
		}
	}
	left := c.until.Sub(now)
	if writes >= c.wanted || left <= 0 {
		return 0
	}
	c.waits = true
	return left
}

// goes notes that a group is written, with so many writes.
func (c *company) goes(writes int) {
	if c.waits && writes >= c.wanted {
		c.luck = min(c.luck+1, luckMost)
	} else if c.waits {
		c.luck = max(c.luck-1, 0)
	}
	c.last, c.waits, c.until = writes, false, time.Time{}
}

// ends notes how long a commit took.
func (c *company) ends(took time.Duration) { c.took += (took - c.took) / 8 }
