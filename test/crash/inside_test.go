package crash

import (
	"testing"
	"time"

	"github.com/penstockmq/penstock/storage"
	"github.com/penstockmq/penstock/storage/memory"
	"github.com/penstockmq/penstock/storage/storagetest"
	"github.com/penstockmq/penstock/test/setting"
)

// Every promise holds for a broker that is cut off from its clients and its store at random moments.
func TestCutInside(t *testing.T) {
	t.Parallel()
	records := memory.New()
	h := newInside(func() (storage.Store, error) {
		return storagetest.HoldAsync(records.Reopen()), nil
	})
	judge(t, play(options{host: h, seed: setting.Seed(t), kills: 10, pause: 200 * time.Millisecond}))
}
