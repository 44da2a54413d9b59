package readme

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/penstockmq/penstock/test/library"
)

var (
	channelCommands = regexp.MustCompile(`(?m)^penstock channel `)
	channelClients  = regexp.MustCompile(`(?m)^penstock (pub|sub) `)
	subcommand      = regexp.MustCompile("(?m)^\\| `([a-z]+)[ `]")
)

// What docs/channels.md tells operators to type works, in its order, and its configuration is one.
func TestChannelsPage(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		library.Absent(t, "curl", err)
	}
	page := readPage(t, "docs/channels.md")
	at := startBroker(t)
	ran := map[string]int{}
	for _, b := range blocks(page) {
		ran[b.language]++
		switch b.language {
		case "yaml":
			output(t, "", nil, program, "config", "check", save(t, "channels.yaml", b.text))
		case "sh":
			runChannelBlock(t, b.text, at)
		default:
			t.Errorf("nothing here runs the language %q", b.language)
		}
	}
	if ran["yaml"] == 0 || ran["sh"] < 2 {
		t.Errorf("the page has blocks %v only", ran)
	}
}

func runChannelBlock(t *testing.T, text string, at map[string]string) {
	t.Helper()
	text = channelCommands.ReplaceAllString(text, "'"+program+"' channel --address "+at["http"]+" ")
	text = channelClients.ReplaceAllString(text, "'"+program+"' $1 --url mqtt://"+at["tcp"]+" ")
	text = strings.ReplaceAll(text, "127.0.0.1:9883", at["http"])
	text = strings.ReplaceAll(text, "curl ", "curl -sS --fail-with-body ")
	out := output(t, "", nil, "sh", "-e", "-c", text)
	want := []string{`"name": "billing"`, `"filter": "invoices/#"`} // of what curl shows
	if strings.Contains(text, "' channel ") {
		want = []string{"\n17.50 EUR\n", "no members", "paused", "billing: 0 messages dropped", "billing.dead: 0 messages put back, 0 stay"}
	}
	for _, line := range want {
		if !strings.Contains(out, line) {
			t.Errorf("no %q in\n%s", line, out)
		}
	}
}

// The page explains every command there is, and no other.
func TestChannelCommandsAreExplained(t *testing.T) {
	_, after, _ := strings.Cut(readPage(t, "docs/channels.md"), "## Operating")
	section, _, _ := strings.Cut(after, "### Over HTTP")
	explained := map[string]bool{"resume": strings.Contains(section, "`resume NAME`")}
	for _, m := range subcommand.FindAllStringSubmatch(section, -1) {
		explained[m[1]] = true
	}
	help := output(t, "", nil, program, "channel", "--help")
	_, after, _ = strings.Cut(help, "Available Commands:\n")
	list, _, _ := strings.Cut(after, "\n\n")
	exist := map[string]bool{}
	for line := range strings.Lines(list) {
		exist[strings.Fields(line)[0]] = true
	}
	for name := range exist {
		if !explained[name] {
			t.Errorf("penstock channel %s is not explained", name)
		}
	}
	for name := range explained {
		if !exist[name] {
			t.Errorf("there is no penstock channel %s", name)
		}
	}
}

// Every path of the page's HTTP table is one of those that are served.
func TestChannelPathsAreServed(t *testing.T) {
	source, err := os.ReadFile(filepath.Join(repository, "admin", "channels.go"))
	if err != nil {
		t.Fatal(err)
	}
	page := readPage(t, "docs/channels.md")
	for _, m := range regexp.MustCompile("`(?:[A-Z]+ )?/api/channels/<name>/([a-z]+)").FindAllStringSubmatch(page, -1) {
		if !strings.Contains(string(source), "/"+m[1]+`"`) {
			t.Errorf("%s is not served", m[1])
		}
	}
}
