package accesslog

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

const combined = `192.0.2.7 - ann [17/May/2015:10:05:03 +0000] "GET /users/7?page=2 HTTP/1.1" 404 23 "http://a/" "Mozilla (\"x\")"`

var requested = time.Date(2015, 5, 17, 10, 5, 3, 0, time.UTC).UnixMicro()

func TestAnUnreadableLineHasAReason(t *testing.T) {
	format, err := Choose("combined", nil, Wanted{})
	require.NoError(t, err)
	for line, want := range map[string]string{
		"":        "the line is empty",
		"garbage": `" " is missing after $remote_addr`,
		strings.Replace(combined, "May", "Mai", 1):      "the time is invalid",
		strings.Replace(combined, "404", "none", 1):     "the status is not a number",
		strings.Replace(combined, `1.1" 404`, "1.1", 1): "the status is not a number",
	} {
		var r Record
		require.EqualError(t, format.NewParser().Parse([]byte(line), &r), want, line)
	}
}

func TestARequestThatIsNotHTTPStillCounts(t *testing.T) {
	for request, want := range map[string][2]string{
		`GET / HTTP/1.1`: {"GET", "/"}, `GET /a b HTTP/1.0`: {"GET", "/a b"}, `GET /`: {"GET", "/"},
		`-`: {"", "-"}, `\x16\x03\x01`: {"", `\x16\x03\x01`}, ``: {"", ""}, `a /b`: {"", "a /b"},
	} {
		var r Record
		r.setRequest([]byte(request))
		require.Equal(t, want, [2]string{string(r.Method), string(r.Path)}, request)
	}
}

func TestANginxFormatIsCompiled(t *testing.T) {
	format, err := Choose(`${http_x_user}|$msec|$remote_addr|"$request_uri"`, nil, Wanted{Extra: "http_x_user"})
	require.NoError(t, err)
	var r Record
	require.NoError(t, format.NewParser().Parse([]byte(`ann|1431857103.250|192.0.2.7|"/a\"b"`), &r))
	require.Equal(t, "ann", string(r.Extra))
	require.Equal(t, requested+250_000, r.Time)
	require.Equal(t, `/a\"b`, string(r.Path))
	for text, want := range map[string]string{
		"$remote_addr$msec":         "no text between $remote_addr",
		"$remote_addr $request":     "has no time",
		"$msec $request":            "has no $remote_addr",
		"$remote_addr ${msec":       `no closing "}"`,
		"$remote_addr $ $msec":      "must be followed by the name",
		"nonsense":                  `"nonsense" is not a format`,
		"$remote_addr [$time_local": "",
	} {
		_, err := Choose(text, nil, Wanted{})
		if want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, want)
	}
}

func TestAFieldWithAUsualNameIsSkippedIfItsValuesDoNotFit(t *testing.T) {
	for _, log := range []string{
		`{"time":0.023,"timestamp":"2015-05-17T10:05:03Z","status":"ok","code":404,"client":"a b","ip":"192.0.2.7"}`,
		"time,timestamp,status,code,client,ip\n0.023,1431857103,ok,404,a b,192.0.2.7",
	} {
		lines := bytes.Split([]byte(log), []byte("\n"))
		format, err := Recognise(lines, Wanted{})
		require.NoError(t, err)
		var r Record
		require.NoError(t, format.NewParser().Parse(lines[len(lines)-1], &r))
		require.Equal(t, requested, r.Time)
		require.Equal(t, 404, r.Status)
		require.Equal(t, "192.0.2.7", string(r.Client))
	}
	_, err := Recognise([][]byte{[]byte("time,ip")}, Wanted{})
	require.NoError(t, err, "a header alone is a log without requests")
}

func TestTheCallerMayNameTheVariablesOfAFormat(t *testing.T) {
	notation := `$remote_addr $http_x_real_ip $when`
	wanted := Wanted{Fields: map[string]string{"client": "http_x_real_ip", "time": "when"}}
	format, err := Choose(notation, nil, wanted)
	require.NoError(t, err)
	var r Record
	require.NoError(t, format.NewParser().Parse([]byte(`10.0.0.1 192.0.2.7 1431857103`), &r))
	require.Equal(t, "192.0.2.7", string(r.Client))
	require.Equal(t, requested, r.Time)
	_, err = Choose(notation, nil, Wanted{Fields: map[string]string{"client": "http_x_reel_ip", "time": "when"}})
	require.ErrorContains(t, err, "has no $http_x_reel_ip, which --field names as the client")
}

func TestTheClientFieldMayBeMissingIfThereIsAnAddress(t *testing.T) {
	sample := `{"ts":1431857103,"client_ip":"192.0.2.7","user":"ann","uri":"/"}`
	format, err := Choose("json", [][]byte{[]byte(sample)}, Wanted{Extra: "user"})
	require.NoError(t, err)
	var r Record
	parser := format.NewParser()
	require.NoError(t, parser.Parse([]byte(sample), &r))
	require.Equal(t, "ann", string(r.Extra))
	require.NoError(t, parser.Parse([]byte(strings.Replace(sample, `"user":"ann",`, "", 1)), &r))
	require.Empty(t, r.Extra)
	require.NoError(t, parser.Parse([]byte(strings.Replace(sample, `"client_ip":"192.0.2.7",`, "", 1)), &r))
	require.Equal(t, "ann", string(r.Extra))
	require.ErrorIs(t, parser.Parse([]byte(`{"ts":1431857103,"uri":"/"}`), &r), errClient)
}

func TestTimesAreParsedAsByTheStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone := time.FixedZone("", 60*rapid.IntRange(-12*60, 14*60).Draw(t, "zone"))
		moment := time.UnixMicro(rapid.Int64Range(1e12, 8e15).Draw(t, "moment")).In(zone)
		for _, layout := range []string{"02/Jan/2006:15:04:05 -0700", time.RFC3339, time.RFC3339Nano, "2006-01-02 15:04:05.000"} {
			text := moment.Format(layout)
			want, err := time.Parse(layout, text)
			require.NoError(t, err)
			got, ok := parseTime([]byte(text))
			require.True(t, ok, text)
			require.Equal(t, want.UnixMicro(), got, text)
		}
	})
}

func TestTheUnitOfUnixTimesDependsOnTheirSize(t *testing.T) {
	for _, text := range []string{"1431857103", "1431857103.000", "1431857103000", "1431857103000000", "1431857103000000000"} {
		got, ok := parseTime([]byte(text))
		require.True(t, ok, text)
		require.Equal(t, requested, got, text)
	}
	for _, text := range []string{"", "x", "-1", "1e9", "1431857103x", "99/May/201:10:05:03 +0000", "2015-13-17T10:05:03Z", "31/Apr/2015:10:05:03 +0000", "2015-02-29T10:05:03Z", "00/May/2015:10:05:03 +0000"} {
		_, ok := parseTime([]byte(text))
		require.False(t, ok, text)
	}
}

func TestParsingALineAllocatesNothing(t *testing.T) {
	for name, line := range map[string]string{"combined": combined, "json": `{"ts":1431857103.5,"client_ip":"192.0.2.7","method":"GET","uri":"\/a","status":200}`} {
		format, err := Choose(name, [][]byte{[]byte(line)}, Wanted{})
		require.NoError(t, err)
		parser, text, r := format.NewParser(), []byte(line), Record{}
		require.Zero(t, testing.AllocsPerRun(100, func() { _ = parser.Parse(text, &r) }), name)
	}
}

func FuzzPattern(f *testing.F) {
	f.Add(combined)
	f.Add(`192.0.2.7 - - [`)
	format, err := Choose("combined", nil, Wanted{})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, line string) {
		var r Record
		if format.NewParser().Parse([]byte(line), &r) == nil {
			require.NotEmpty(t, r.Client)
			require.True(t, strings.HasPrefix(strings.TrimLeft(line, " "), string(r.Client)) || strings.ContainsRune(line, 0x1b))
			require.Less(t, r.Time, int64(latest))
		}
	})
}

func FuzzFormat(f *testing.F) {
	f.Add(`$remote_addr [$time_local] "$request" $status`, combined)
	f.Add(`$remote_addr [$time_local] "$request" $status`, "")
	f.Fuzz(func(_ *testing.T, notation, line string) {
		format, err := Choose(notation, [][]byte{[]byte(line)}, Wanted{})
		if err == nil {
			var r Record
			_ = format.NewParser().Parse([]byte(line), &r) // it must not panic
		}
	})
}

func FuzzJSON(f *testing.F) {
	f.Add(`{"ts":1431857103.5,"client_ip":"192.0.2.7","uri":"\/a"}`)
	f.Add("{\"ts\":0,\"client_ip\":\"\xeb\",\"uri\":\"\"}") // bytes that are no UTF-8 stay as they are, which package json replaces
	f.Fuzz(func(t *testing.T, line string) {
		parser := newJSONLine(map[role][]string{roleTime: {"ts"}, roleClient: {"client_ip"}, rolePath: {"uri"}}, nil)
		var r Record
		if parser.Parse([]byte(line), &r) != nil {
			return
		}
		var object struct {
			Client string `json:"client_ip"`
		}
		if json.Unmarshal([]byte(line), &object) == nil && strings.Count(line, "client_ip") == 1 && strings.IndexByte(line, '\\') < 0 && utf8.ValidString(line) && object.Client != "" {
			require.Equal(t, object.Client, string(r.Client))
		}
	})
}

func FuzzCSV(f *testing.F) {
	f.Add("1431857103,\"a \"\"b\"\"\",c")
	f.Add(`"",a,""""`)
	f.Fuzz(func(t *testing.T, line string) {
		parser := &columns{separator: ',', quotes: true, roles: []role{roleTime, roleClient, rolePath}}
		var r Record
		_ = parser.Parse([]byte(line), &r) // it must not panic
		want, err := csv.NewReader(strings.NewReader(line)).Read()
		if err != nil || strings.ContainsAny(line, "\r\n") {
			return
		}
		got, err := parser.split([]byte(line))
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

func FuzzTime(f *testing.F) {
	layouts := []string{"02/Jan/2006:15:04:05 -0700", time.RFC3339Nano, "2006-01-02 15:04:05", "2006/01/02 - 15:04:05"}
	for _, layout := range layouts {
		f.Add(time.Date(2016, 2, 29, 23, 59, 59, 123456789, time.FixedZone("", 3600)).Format(layout))
	}
	f.Add("1431857103.123")
	f.Fuzz(func(t *testing.T, text string) {
		micros, ok := parseTime([]byte(text))
		if ok {
			require.GreaterOrEqual(t, micros, int64(0))
		}
		for _, layout := range layouts {
			want, err := time.Parse(layout, text)
			if err != nil || want.Format(layout) != text || want.UnixMicro() < 0 || want.UnixMicro() >= latest {
				continue // the standard library reads some texts that nobody writes
			}
			require.True(t, ok, "%q is as %q", text, layout)
			require.Equal(t, want.UnixMicro(), micros, text)
		}
	})
}
