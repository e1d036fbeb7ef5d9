// What an agent written in Go sees of the gateway: net/http over HTTP/1.1, and over HTTP/2 with prior knowledge.
//
// Environment: GATEWAY (URL), TOKEN (the agent's). Prints a line for each check; exits with 1 when one fails.
// The runner approves what is asked of /orders/*, and denies what is asked of /tickets/*.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

type problem struct {
	Status int    `json:"status"`
	Rule   string `json:"rule"`
	Reason string `json:"reason"`
}

type customer struct {
	Name string  `json:"name"`
	SSN  *string `json:"ssn"`
	Card string  `json:"card"`
}

type agent struct {
	name   string
	client *http.Client
	token  string
}

var (
	gateway = os.Getenv("GATEWAY")
	failed  bool
)

func (a agent) check(what string, passed bool, seen ...any) {
	if passed {
		fmt.Printf("ok - %s: %s\n", a.name, what)
		return
	}
	failed = true
	fmt.Printf("not ok - %s: %s (%v)\n", a.name, what, seen)
}

// ask answers the status, the headers and the body; a broken exchange has status 0.
func (a agent) ask(method, path, body string, headers ...string) (int, http.Header, string) {
	request, err := http.NewRequest(method, gateway+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err.Error()
	}
	if a.token != "" {
		request.Header.Set("Authorization", "Bearer "+a.token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := a.client.Do(request)
	if err != nil {
		return 0, nil, err.Error()
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, response.Header, err.Error()
	}
	return response.StatusCode, response.Header, string(content)
}

func (a agent) problem(body string) (said problem) {
	_ = json.Unmarshal([]byte(body), &said)
	return said
}

func (a agent) run(approved, denied, later string) {
	nobody := agent{a.name, a.client, ""}
	status, headers, body := nobody.ask("GET", "/customers/1", "")
	a.check("401 and a challenge without a token", status == 401 && strings.HasPrefix(headers.Get("WWW-Authenticate"), "Bearer"), status, body)

	status, _, body = agent{a.name, a.client, a.token[:len(a.token)-6] + "AAAAAA"}.ask("GET", "/customers/1", "")
	a.check("401 with a forged token", status == 401, status, body)

	status, _, body = a.ask("GET", "/customers", "")
	var customers []customer
	err := json.Unmarshal([]byte(body), &customers)
	masked := err == nil && len(customers) == 25
	for _, one := range customers {
		masked = masked && one.SSN == nil && strings.HasPrefix(one.Card, "*******") && one.Name != ""
	}
	a.check("a list, every customer masked", status == 200 && masked, status, err)

	var group sync.WaitGroup
	results := make(chan bool, 200)
	for range cap(results) {
		group.Add(1)
		go func() {
			defer group.Done()
			status, _, body := a.ask("GET", "/customers/2", "")
			results <- status == 200 && !strings.Contains(body, "542-52-2995") && strings.Contains(body, "Jonas")
		}()
	}
	group.Wait()
	close(results)
	whole := true
	for result := range results {
		whole = whole && result
	}
	a.check("200 reads at once, all masked", whole)

	status, _, body = a.ask("PATCH", "/customers/1", `{"tier":"business"}`, "Content-Type", "application/json")
	a.check("403 that names the rule", status == 403 && a.problem(body).Rule == "default-deny", status, body)

	status, _, body = a.ask("DELETE", approved, "")
	a.check("a delete that was approved", status == 200, status, body)
	status, _, body = a.ask("DELETE", denied, "")
	a.check("a delete that was denied, with the reason", status == 403 && strings.Contains(a.problem(body).Reason, "not this one"), status, body)

	status, headers, body = a.ask("DELETE", later, "", "Prefer", "wait=0")
	a.check("Prefer: wait=0 gets 202", status == 202 && headers.Get("Location") != "", status, body)
	for range 100 {
		if _, _, body = a.ask("GET", headers.Get("Location"), ""); !strings.Contains(body, `"pending"`) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	status, _, body = a.ask("DELETE", later, "")
	a.check("the same request passes once approved", status == 200, status, body)
}

func main() {
	token := os.Getenv("TOKEN")
	first := agent{"go, HTTP/1.1", &http.Client{Timeout: time.Minute, Transport: &http.Transport{}}, token}
	first.run("/orders/21", "/tickets/3", "/orders/22")

	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	second := agent{"go, HTTP/2", &http.Client{Timeout: time.Minute, Transport: &http.Transport{Protocols: protocols}}, token}
	second.run("/orders/23", "/tickets/4", "/orders/24")
	if failed {
		os.Exit(1)
	}
}
