package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/gin-ratelimiter/ratelimiter"
	"github.com/goccy/go-yaml"
)

// parseConfig reads a configuration in the format of its file extension, or detects the
// format.
func parseConfig(ending string, text []byte) (ratelimiter.Config, error) {
	first := bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\ufeff")))
	switch {
	case ending == ".env":
		return parseEnv(first)
	case ending == ".yaml" || ending == ".yml":
		return parseYAML(first)
	case ending == ".json" || bytes.HasPrefix(first, []byte("{")) || bytes.HasPrefix(first, []byte("[")):
		return parseJSON(first)
	case envLine.Match(first):
		return parseEnv(first)
	case yamlLine.Match(first):
		return parseYAML(first)
	}
	return parseJSON(first)
}

func parseJSON(text []byte) (config ratelimiter.Config, err error) {
	if err := json.Unmarshal(text, &config); err != nil {
		return nil, fmt.Errorf("the configuration is not a JSON object: %w", err)
	}
	if config == nil {
		return nil, errors.New("the configuration is null; it must be a JSON object")
	}
	return config, nil
}

// parseYAML converts YAML to JSON, so that numbers have the same types in both.
func parseYAML(text []byte) (ratelimiter.Config, error) {
	if nestsTooDeep(text) {
		return nil, fmt.Errorf("the configuration is not YAML: it nests more than %d levels deep", maxDepth)
	}
	var tree any
	if err := yaml.UnmarshalWithOptions(text, &tree, yaml.UseOrderedMap()); err != nil {
		return nil, fmt.Errorf("the configuration is not YAML: %w", err)
	}
	if room(tree, maxSmall) < 0 {
		return nil, fmt.Errorf("the aliases of the configuration expand to more than %d MiB", maxSmall>>20)
	}
	object, err := yaml.MarshalWithOptions(tree, yaml.JSON())
	if err != nil {
		return nil, fmt.Errorf("the configuration is not YAML: %w", err)
	}
	config, err := parseJSON(object)
	if err != nil {
		return nil, errors.New("the configuration must be a YAML mapping, such as RATELIMITER_DEFAULT_LIMITS: 100/minute")
	}
	return config, nil
}

// maxDepth is the most levels of YAML in flow style, or of lists on one line, that are
// parsed. The memory of the parser grows with the square of the depth.
const maxDepth = 100

// nestsTooDeep reports whether YAML may nest deeper than maxDepth. It also counts brackets in
// texts and comments, of which no configuration has so many.
func nestsTooDeep(text []byte) bool {
	brackets, signs := 0, 0
	for i, b := range text {
		switch b {
		case '[', '{':
			brackets++
		case ']', '}':
			brackets = max(0, brackets-1)
		case ' ', '\t':
			if i > 0 && strings.IndexByte("-?:", text[i-1]) >= 0 { // begins a level
				signs++
			}
		case '-', '?', ':':
		default:
			signs = 0
		}
		if brackets > maxDepth || signs > maxDepth {
			return true
		}
	}
	return false
}

// room returns how many of the given bytes a value leaves, about; negative if it takes more.
// A few aliases of aliases can make a value that is too large to be written down.
func room(value any, left int) int {
	left -= 16 // the size of an interface
	switch value := value.(type) {
	case yaml.MapSlice:
		for i := 0; i < len(value) && left >= 0; i++ {
			left = room(value[i].Value, room(value[i].Key, left))
		}
	case []any:
		for i := 0; i < len(value) && left >= 0; i++ {
			left = room(value[i], left)
		}
	case string:
		left -= len(value)
	}
	return left
}

var (
	envLine  = regexp.MustCompile(`(?m)^(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$`)
	yamlLine = regexp.MustCompile(`(?m)^[A-Za-z_][A-Za-z0-9_]*:(?:\s|$)`)
)

// parseEnv reads a .env file as the library reads the environment.
func parseEnv(text []byte) (ratelimiter.Config, error) {
	variables := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		parts := envLine.FindStringSubmatch(line)
		if parts == nil {
			return nil, fmt.Errorf("line %d is not of the form NAME=value", number)
		}
		variables[parts[1]] = unquoted(strings.TrimSpace(parts[2]))
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	config, err := configOf(variables)
	for name := range variables {
		if err == nil && !strings.HasPrefix(name, ownPrefix) {
			config[name] = variables[name] // so that check lists it as ignored
		}
	}
	return config, err
}

// unquoted removes the quotes around a value, or the comment after an unquoted one.
func unquoted(value string) string {
	if len(value) > 1 && (value[0] == '"' || value[0] == '\'') {
		if end := strings.IndexByte(value[1:], value[0]); end >= 0 {
			return value[1 : 1+end]
		}
	}
	before, _, _ := strings.Cut(value, " #")
	return strings.TrimSpace(before)
}

// configOf lets the library read an environment in which these are the only RATELIMITER_
// variables, and restores the environment afterwards.
func configOf(variables map[string]string) (config ratelimiter.Config, err error) {
	for _, variable := range os.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, ownPrefix) {
			err = errors.Join(err, os.Unsetenv(name))
			defer func() { err = errors.Join(err, os.Setenv(name, value)) }()
		}
	}
	for name, value := range variables {
		if strings.HasPrefix(name, ownPrefix) {
			err = errors.Join(err, os.Setenv(name, value))
			defer func() { err = errors.Join(err, os.Unsetenv(name)) }()
		}
	}
	if err != nil {
		return nil, err
	}
	return ratelimiter.ConfigFromEnv()
}
