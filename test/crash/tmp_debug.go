package crash

import (
	"fmt"
	"os"
	"time"
)

var dbg, _ = os.OpenFile("/tmp/crash-debug.log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)

func debugLog(line string) { fmt.Fprintln(dbg, time.Now().Format("05.000000"), line) }
