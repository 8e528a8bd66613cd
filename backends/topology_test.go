package backends_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gin-ratelimiter/ratelimiter/backends"
	"github.com/gin-ratelimiter/ratelimiter/internal/redistest"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestSentinelFindsTheMasterAndThePromotedReplica(t *testing.T) {
	addrs, name, master := redistest.Sentinel(t)
	backend := open(t, map[string]any{"addrs": addrs, "master_name": name, "dial_timeout": "200ms"})
	require.EqualValues(t, 20, spend(t, []backends.Backend{backend}, 10, hourly("k", 20)))

	scissors := &connectionCutter{}
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		SentinelAddrs: addrs, MasterName: name, MaxRetries: 3, Dialer: scissors.dial,
	})
	t.Cleanup(func() { _ = client.Close() })
	notMadeTwice(t, scissors, open(t, map[string]any{"client": client}))

	_, err := backends.NewRedis(map[string]any{"addrs": addrs, "master_name": "another"})
	require.ErrorContains(t, err, `"master_name"`)

	master.Kill()
	redistest.Eventually(t, "the replica decides, although it does not know the script", func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		return backend.Take(ctx, []backends.Quota{hourly("other", 1)}, make([]backends.Verdict, 1)) == nil
	})
	require.False(t, take(t, backend, hourly("other", 1))[0].Allowed)
}

func TestAClusterSharesLimitsAndTakesKeysOnSeveralNodesTogether(t *testing.T) {
	nodes := redistest.Cluster(t, 3)
	backend := open(t, map[string]any{"addr": nodes[0].Addr, "cluster": true})
	require.EqualValues(t, 20, spend(t, []backends.Backend{backend}, 10, hourly("k", 20)))

	// So many keys that every node has some.
	var quotas []backends.Quota
	for i := range 12 {
		quotas = append(quotas, hourly("part"+strconv.Itoa(i), 5))
	}
	narrow := hourly("narrow", 1)
	require.True(t, take(t, backend, append(quotas[:6:6], narrow)...)[6].Allowed)
	verdicts := take(t, backend, append(append(quotas[:6:6], narrow), quotas[6:]...)...)
	require.False(t, verdicts[6].Allowed)
	for i, verdict := range verdicts {
		switch {
		case i < 6:
			require.EqualValues(t, 4, verdict.Remaining, "units taken before the denial are refunded")
		case i > 6:
			require.True(t, verdict.Allowed)
			require.EqualValues(t, 5, verdict.Remaining, "nothing is taken after the denial")
		}
	}
	for i, verdict := range take(t, backend, quotas...) {
		want := int64(4)
		if i < 6 {
			want = 3
		}
		require.Equal(t, want, verdict.Remaining)
	}
	require.NoError(t, backend.Reset(t.Context(), "narrow", "somebody"))
	require.True(t, take(t, backend, narrow)[0].Allowed)

	scissors := &connectionCutter{}
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: []string{nodes[0].Addr}, MaxRetries: 3, MaxRedirects: 3, Dialer: scissors.dial,
	})
	t.Cleanup(func() { _ = client.Close() })
	notMadeTwice(t, scissors, open(t, map[string]any{"client": client}))
}

func TestAClusterRefundsWhenALaterNodeFails(t *testing.T) {
	nodes := redistest.Cluster(t, 3)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{nodes[0].Addr}})
	t.Cleanup(func() { _ = client.Close() })
	backend := open(t, map[string]any{"client": client})
	keyOn := map[string]string{} // by the address of the node
	for i := 0; len(keyOn) < len(nodes); i++ {
		key := "k" + strconv.Itoa(i)
		take(t, backend, hourly(key, 9))
		node, err := client.MasterForKey(t.Context(), key+":somebody:"+strconv.Itoa(len(key)))
		require.NoError(t, err)
		keyOn[node.Options().Addr] = key
	}
	first, lost := hourly(keyOn[nodes[0].Addr], 9), hourly(keyOn[nodes[2].Addr], 9)
	before := take(t, backend, first)[0].Remaining
	nodes[2].Kill()
	require.Error(t, backend.Take(t.Context(), []backends.Quota{first, lost}, make([]backends.Verdict, 2)))
	first.Cost = 0
	require.Equal(t, before, take(t, backend, first)[0].Remaining)
}

func TestUsersAndPasswords(t *testing.T) {
	server := redistest.Single(t, "--requirepass", "s3cret", "--user", "limiter", "on", ">pa55", "~limits/*", "+@all")
	for name, options := range map[string]map[string]any{
		"password": {"password": "s3cret"},
		"user":     {"username": "limiter", "password": "pa55"},
	} {
		options["addr"] = server.Addr
		backend := open(t, options)
		require.True(t, take(t, backend, hourly("limits/"+name, 1))[0].Allowed)
	}
	open(t, map[string]any{"url": "redis://limiter:pa55@" + server.Addr + "/0"})
	for name, options := range map[string]map[string]any{
		"no password":    {},
		"wrong password": {"password": "pa55-wrong"},
		"wrong user":     {"username": "stranger", "password": "pa55"},
		"no database":    {"password": "s3cret", "db": 99},
	} {
		options["addr"] = server.Addr
		_, err := backends.NewRedis(options)
		require.ErrorContains(t, err, "credentials", name)
		require.NotContains(t, err.Error(), "pa55-wrong", name)
	}
}

// The test uses exactly the documented permissions.
func TestTheDocumentedPermissionsAreEnough(t *testing.T) {
	server := redistest.Single(t, "--user", "limiter", "on", ">pa55", "~rate_limit/*", "-@all",
		"+hello", "+auth", "+eval", "+evalsha", "+time", "+get", "+set", "+setrange", "+del")
	backend := open(t, map[string]any{"addr": server.Addr, "username": "limiter", "password": "pa55"})
	for range 4 {
		require.True(t, take(t, backend, hourly("rate_limit/k", 4))[0].Allowed)
	}
	require.False(t, take(t, backend, hourly("rate_limit/k", 4))[0].Allowed)
	require.NoError(t, backend.Reset(t.Context(), "rate_limit/k", "somebody"))

	server = redistest.Single(t, "--user", "limiter", "on", ">pa55", "~*", "-@all", "+hello", "+auth")
	_, err := backends.NewRedis(map[string]any{"addr": server.Addr, "username": "limiter", "password": "pa55"})
	require.ErrorContains(t, err, "permissions")
}

func TestTLS(t *testing.T) {
	files, trusted := certificate(t)
	redistest.Need(t)
	port := freeTLSPort(t)
	redistest.Single(t, "--tls-port", port, "--tls-cert-file", files[0], "--tls-key-file", files[1],
		"--tls-ca-cert-file", files[0], "--tls-auth-clients", "no")
	backend := open(t, map[string]any{"host": "127.0.0.1", "port": mustAtoi(t, port), "tls": &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}})
	require.True(t, take(t, backend, hourly("k", 1))[0].Allowed)

	untrusting := open(t, map[string]any{"url": "rediss://127.0.0.1:" + port})
	err := untrusting.Take(t.Context(), []backends.Quota{hourly("k", 1)}, make([]backends.Verdict, 1))
	require.ErrorContains(t, err, "certificate", "an untrusted server gets no command")
}

// certificate creates a self-signed certificate for 127.0.0.1 and its key, in files.
func certificate(t *testing.T) (files [2]string, trusted *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	for i, block := range []*pem.Block{{Type: "CERTIFICATE", Bytes: der}, {Type: "PRIVATE KEY", Bytes: secret}} {
		files[i] = filepath.Join(t.TempDir(), strings.ToLower(strings.Fields(block.Type)[0])+".pem")
		require.NoError(t, os.WriteFile(files[i], pem.EncodeToMemory(block), 0o600))
	}
	trusted = x509.NewCertPool()
	require.True(t, trusted.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return files, trusted
}

func freeTLSPort(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return port
}

func mustAtoi(t *testing.T, text string) int {
	number, err := strconv.Atoi(text)
	require.NoError(t, err)
	return number
}
