package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// A document is a YAML file whose keys and types were checked.
type document struct {
	name   string         // of the file, for errors
	lines  map[string]int // of each key it sets: "limits.max_qos", "listeners[0]", "listeners[0].cert"
	values map[string]any // nested as in the file; scalars as setting.parse gives them
}

// readDocument reads a YAML file and reports the first mistake in it.
func readDocument(name string, text []byte) (*document, error) {
	d := &document{name: name, lines: map[string]int{}, values: map[string]any{}}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var root yaml.Node
	if err := decoder.Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			return d, nil
		}
		return nil, d.syntaxError(err)
	}
	var second yaml.Node
	if err := decoder.Decode(&second); err == nil {
		return nil, d.mistake(&second, "", "expected the end of the file, got a second document")
	} else if !errors.Is(err, io.EOF) {
		return nil, d.syntaxError(err)
	}
	if isEmpty(root.Content[0]) {
		return d, nil
	}
	values, err := d.section(setting{kind: reflect.TypeFor[Config]()}, "", root.Content[0])
	d.values = values
	return d, err
}

var syntaxLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

func (d *document) syntaxError(err error) error {
	where, text := d.name, err.Error()
	if m := syntaxLine.FindStringSubmatch(text); m != nil {
		text = m[2]
		if m[1] != "" {
			where += ":" + m[1]
		}
	}
	return &Error{Where: where, Text: "expected YAML: " + text}
}

func (d *document) mistake(node *yaml.Node, key, format string, args ...any) error {
	return &Error{Where: d.name + ":" + strconv.Itoa(node.Line), Key: key, Text: fmt.Sprintf(format, args...)}
}

// value checks one node against the type that its setting wants. The path is the key with indexes.
func (d *document) value(s setting, path string, node *yaml.Node) (any, error) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	switch s.kind.Kind() {
	case reflect.Struct:
		return d.section(s, path, node)
	case reflect.Slice:
		return d.list(s, path, node)
	}
	return d.scalar(s, path, node)
}

// section checks a mapping: every key exists and stands there once.
func (d *document) section(s setting, path string, node *yaml.Node) (map[string]any, error) {
	if node.Kind != yaml.MappingNode {
		return nil, d.mistake(node, path, "expected keys with values, got %s", describe(node))
	}
	fields := fieldsOf(s.kind)
	values := map[string]any{}
	for i := 0; i < len(node.Content); i += 2 {
		name, content := node.Content[i], node.Content[i+1]
		key := join(path, name.Value)
		f, ok := fields[name.Value]
		if !ok || name.Kind != yaml.ScalarNode {
			return nil, d.mistake(name, key, "%s", unknownKey(name.Value, keysOf(s.kind)))
		}
		if first, twice := d.lines[key]; twice {
			return nil, d.mistake(name, key, "expected each key once, already set in line %d", first)
		}
		d.lines[key] = name.Line
		if isEmpty(content) && (f.Kind() == reflect.Struct || f.Kind() == reflect.Slice) {
			continue // a section whose keys are all commented out leaves the defaults
		}
		value, err := d.value(setting{key: join(s.key, name.Value), kind: f}, key, content)
		if err != nil {
			return nil, err
		}
		values[name.Value] = value
	}
	return values, nil
}

func (d *document) list(s setting, path string, node *yaml.Node) (any, error) {
	if node.Kind != yaml.SequenceNode {
		return nil, d.mistake(node, path, "expected a list, got %s", describe(node))
	}
	values := make([]any, 0, len(node.Content))
	for i, item := range node.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.lines[at] = item.Line
		value, err := d.value(setting{key: s.key, kind: s.kind.Elem()}, at, item)
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, nil
}

// scalar checks a single value. Its YAML type must fit too: a quoted "2" is no number and 2 is no text.
func (d *document) scalar(s setting, path string, node *yaml.Node) (any, error) {
	if expected := s.wants(node); expected != "" {
		return nil, d.mistake(node, path, "expected %s, got %s", expected, describe(node))
	}
	value, err := s.parse(node.Value)
	if err != nil {
		return nil, d.mistake(node, path, "%s", err)
	}
	return value, nil
}

// wants is empty if the YAML type of node fits the setting, else what was expected.
func (s setting) wants(node *yaml.Node) string {
	tag := node.ShortTag()
	isText, isInt := tag == "!!str", tag == "!!int"
	switch {
	case s.isDuration() && !isText && !isInt:
		return "a duration such as 30s"
	case s.isSize() && !isText && !isInt:
		return "a size such as 64KiB"
	case s.isNumber() && !s.isSize() && !isInt:
		return "a whole number from " + s.bound().numbers()
	case s.kind.Kind() == reflect.Bool && tag != "!!bool":
		return "true or false"
	case s.kind.Kind() == reflect.String && !isText:
		return "text (in quotes if it looks like something else)"
	}
	return ""
}

func isEmpty(node *yaml.Node) bool { return node.ShortTag() == "!!null" }

func describe(node *yaml.Node) string {
	switch {
	case node.Kind == yaml.MappingNode:
		return "keys with values"
	case node.Kind == yaml.SequenceNode:
		return "a list"
	case isEmpty(node):
		return "nothing"
	case node.ShortTag() == "!!str":
		return fmt.Sprintf("the text %q", node.Value)
	}
	return node.Value
}

// fieldsOf maps the keys of a structure to the types of their values.
func fieldsOf(structure reflect.Type) map[string]reflect.Type {
	fields := make(map[string]reflect.Type, structure.NumField())
	for i := range structure.NumField() {
		f := structure.Field(i)
		fields[f.Tag.Get("mapstructure")] = f.Type
	}
	return fields
}

func keysOf(structure reflect.Type) []string {
	keys := make([]string, structure.NumField())
	for i := range keys {
		keys[i] = structure.Field(i).Tag.Get("mapstructure")
	}
	return keys
}
