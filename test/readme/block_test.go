package readme

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/penstockmq/penstock/test/library"
)

// reading is what each of the programs on the page prints.
const reading = "home/kitchen/temp 21.5"

// A runner runs a block against a broker at two addresses.
type runner func(t *testing.T, text, tcp, ws string)

var runners = map[string]runner{"sh": runShell, "python": runPython, "js": runJavaScript, "go": runGo, "html": runPage}

// What the page tells people to type and its programs work.
func TestBlocks(t *testing.T) {
	ran := make(map[string]bool)
	for i, b := range blocks(readPage(t, "README.md")) {
		runBlock := runners[b.language]
		if runBlock == nil {
			t.Errorf("block %d: nothing here runs the language %q", i, b.language)
			continue
		}
		ran[b.language] = true
		t.Run(fmt.Sprintf("%d-%s", i, b.language), func(t *testing.T) {
			at := startBroker(t)
			runBlock(t, b.text, at["tcp"], at["ws"])
		})
	}
	if len(ran) != len(runners) {
		t.Errorf("the page has blocks of %v only", ran)
	}
}

// What is not run here: the broker itself, which runs already, and what takes other programs.
var (
	served  = regexp.MustCompile(`(?m)^go run \./cmd/penstock serve$`)
	made    = regexp.MustCompile(`(?m)^make ([a-z-]+)$`)
	foreign = regexp.MustCompile(`(?m)^docker .*$`)
	clients = regexp.MustCompile(`go run \./cmd/penstock (pub|sub) `)
)

func runShell(t *testing.T, text, tcp, _ string) {
	makefile := readPage(t, "Makefile")
	for _, m := range made.FindAllStringSubmatch(text, -1) {
		if !strings.Contains(makefile, "\n"+m[1]+":") {
			t.Errorf("make %s: no such target", m[1])
		}
	}
	for _, e := range []*regexp.Regexp{served, made, foreign} {
		text = e.ReplaceAllString(text, "")
	}
	isRun := strings.Contains(text, "go run ")
	isClient := clients.MatchString(text)
	text = clients.ReplaceAllString(text, "go run ./cmd/penstock $1 --url mqtt://"+tcp+" ")
	text = strings.ReplaceAll(text, "go run ./cmd/penstock", "'"+program+"'")
	dir := t.TempDir()
	shared, err := filepath.Abs(filepath.Join(repository, "configs"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(shared, filepath.Join(dir, "configs")); err != nil {
		t.Fatal(err)
	}
	out := output(t, dir, nil, "sh", "-e", "-c", text)
	if isClient && strings.TrimSpace(out) != reading {
		t.Errorf("printed %q, want %q", out, reading)
	}
	if !isRun && out != "" {
		t.Errorf("printed %q without a command of ours", out)
	}
}

// atBroker replaces the addresses on the page.
func atBroker(t *testing.T, text, tcp, ws string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(tcp)
	if err != nil {
		t.Fatal(err)
	}
	replaced := strings.NewReplacer("127.0.0.1:1883", tcp, "127.0.0.1:8083/mqtt", ws,
		`hostname="127.0.0.1", port=1883`, fmt.Sprintf("hostname=%q, port=%s", host, port)).Replace(text)
	if replaced == text {
		t.Fatal("there is no address of the broker in it")
	}
	return replaced
}

func save(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func wantReading(t *testing.T, out string) {
	t.Helper()
	if line, _, _ := strings.Cut(out, "\n"); line != reading {
		t.Errorf("printed %q, want %q", out, reading)
	}
}

func runPython(t *testing.T, text, tcp, ws string) {
	wantReading(t, output(t, "", nil, library.Python(t), save(t, "device.py", atBroker(t, text, tcp, ws))))
}

// node runs a program with the modules that make setup installs.
func node(t *testing.T, text string) string {
	t.Helper()
	program, modules := library.Node(t)
	return output(t, "", []string{modules}, program, save(t, "device.js", text))
}

func runJavaScript(t *testing.T, text, tcp, ws string) {
	wantReading(t, node(t, atBroker(t, text, tcp, ws)))
}

func runGo(t *testing.T, text, tcp, ws string) {
	wantReading(t, output(t, repository, nil, "go", "run", save(t, "main.go", atBroker(t, text, tcp, ws))))
}

// page is as much of a browser as the chat needs: it types a line and ends when one is shown.
const page = `const mqtt = require('mqtt')
const document = { createElement: () => ({}) }
const room = { append: (line) => { console.log(String(line.textContent)); process.exit(0) } }
const say = { value: 'hello' }
%s
chat.on('connect', () => say.onchange())
`

var inlineScript = regexp.MustCompile(`(?s)<script>(.*)</script>`)

func runPage(t *testing.T, text, tcp, ws string) {
	m := inlineScript.FindStringSubmatch(atBroker(t, text, tcp, ws))
	if m == nil {
		t.Fatal("there is no script in the page")
	}
	if out := node(t, fmt.Sprintf(page, m[1])); out != "hello\n" {
		t.Errorf("shows %q, want hello", out)
	}
}
