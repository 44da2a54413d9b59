package readme

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/penstockmq/penstock/test/loopback"
)

// portOnPage is a port of one of the brokers on docs/bridges.md.
var portOnPage = regexp.MustCompile(`\b(1883|1887|1888|9883|9887|9888)\b`)

// The commands of docs/bridges.md work when they are typed one after the other, and print what stands below them.
func TestBridges(t *testing.T) {
	ports := map[string]string{}
	replace := func(text string) string {
		return portOnPage.ReplaceAllStringFunc(text, func(port string) string {
			if ports[port] == "" {
				_, ports[port], _ = strings.Cut(loopback.FreeAddress(t), ":")
			}
			return ports[port]
		})
	}
	dir := t.TempDir()
	if err := os.Symlink(program, filepath.Join(dir, "penstock")); err != nil {
		t.Fatal(err)
	}
	script, want := walk(t, replace)
	// Whatever happens, no broker is left behind: timeout ends the shell in good order.
	script = "trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n" + script
	out := output(t, dir, []string{"PATH=" + dir + ":" + os.Getenv("PATH")}, "timeout", "50", "bash", "-e", "-c", script)
	printed := strings.Split(out, endOfBlock+"\n")
	for i, text := range want {
		if i >= len(printed) {
			t.Fatalf("%d blocks printed something", len(printed))
		}
		if !like(printed[i], text) {
			t.Errorf("block %d printed\n%s\nwant\n%s", i, printed[i], text)
		}
	}
}

const endOfBlock = "end of block"

// walk makes one script of the commands, and tells what each block of them prints.
func walk(t *testing.T, replace func(string) string) (script string, want []string) {
	t.Helper()
	for _, b := range blocks(readPage(t, "docs/bridges.md")) {
		text := replace(b.text)
		switch b.language {
		case "sh":
			script += text + "echo '" + endOfBlock + "'\n"
			want = append(want, "")
		case "text":
			want[len(want)-1] = text
		default:
			t.Errorf("nothing here runs the language %q", b.language)
		}
	}
	if len(want) < 8 {
		t.Fatalf("only %d blocks", len(want))
	}
	return script, want
}

// like compares line by line; an ellipsis stands for anything, and any run of spaces for another.
func like(got, want string) bool {
	pattern := regexp.QuoteMeta(strings.Join(strings.Fields(want), " "))
	pattern = strings.ReplaceAll(pattern, "…", ".*")
	return regexp.MustCompile("^" + pattern + "$").MatchString(strings.Join(strings.Fields(got), " "))
}
