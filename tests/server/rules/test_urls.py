import pytest
from hypothesis import given
from hypothesis import strategies as st
from octohooks_server.rules.addresses import parse_subnets
from octohooks_server.rules.urls import parse_url, url_problem


@pytest.mark.parametrize(
    ("url", "host", "port", "target", "host_header"),
    [
        ("https://example.com", "example.com", 443, "/", "example.com"),
        ("HTTPS://Example.COM:443/A", "example.com", 443, "/A", "example.com"),
        ("http://example.com:8080/a?b=c", "example.com", 8080, "/a?b=c", "example.com:8080"),
        ("https://example.com?b", "example.com", 443, "/?b", "example.com"),
        ("https://example.com./", "example.com.", 443, "/", "example.com."),
        ("https://a_b.example/", "a_b.example", 443, "/", "a_b.example"),
        ("http://8.8.8.8/", "8.8.8.8", 80, "/", "8.8.8.8"),
        ("http://[2600::1]:81/", "2600::1", 81, "/", "[2600::1]:81"),
        ("http://134744072/", "8.8.8.8", 80, "/", "8.8.8.8"),
        (
            "https://b\u00fccher.example/\u00e4?q=\u00fc",
            "xn--bcher-kva.example",
            443,
            "/%C3%A4?q=%C3%BC",
            "xn--bcher-kva.example",
        ),
    ],
)
def test_a_url_is_read_into_the_parts_that_are_used(
    url: str, host: str, port: int, target: str, host_header: str
) -> None:
    parsed = parse_url(url)
    assert (parsed.host, parsed.port, parsed.target) == (host, port, target)
    assert parsed.host_header == host_header
    assert url_problem(url) is None


def test_path_and_query_stay_as_they_were_given() -> None:
    target = "/a/../b//%2F%2f;p=1?sig=a%2Bb+c%3D&x=[1]&y=~!$'()*,@:"
    assert parse_url("https://example.com" + target).target == target


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "/hook",
        "//example.com",
        "ftp://example.com",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http:example.com",
        "http:///path",
        "https://",
        "https://:443/",
        "https://user@example.com/",
        "https://user:secret@example.com/",
        "https://example.com@127.0.0.1/",
        "https://@example.com/",
        "https://example.com\\@127.0.0.1/",
        "https://example.com/#part",
        "https://example.com#",
        "https://exam ple.com/",
        "https://example.com/a b",
        "https://example.com/\r\nhost: evil",
        "https://example.com/\x00",
        "https://example.com/\u2028",
        "https://example.com/\u200b",
        " https://example.com/",
        "https://example.com/\n",
        "https://example.com:0/",
        "https://example.com:65536/",
        "https://example.com:/",
        "https://example.com:80:80/",
        "https://example.com:+80/",
        "https://example.com:\u0661/",
        "https://ex%61mple.com/",
        "https://example..com/",
        "https://-a.example/",
        "https://" + "a" * 64 + ".example/",
        "https://" + "a." * 126 + "example/",
        "https://1.2.3.256/",
        "https://1.2.3.4.5/",
        "https://example.0x1/",
        "https://[::1/",
        "https://::1/",
        "https://[fe80::1%25eth0]/",
        "https://[fe80::1%eth0]/",
        "https://fa\u00df.example/",
        "https://example.com/" + "a" * 2048,
    ],
)
def test_a_url_that_cannot_be_posted_to_is_refused(url: str) -> None:
    problem = url_problem(url)
    assert problem is not None
    assert "secret" not in problem


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.1:8080/",
        "http://0x7f000001/",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://0/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://168.63.129.16/",
        "http://\uff11\uff12\uff17.0.0.1/",
        "http://127\u30020\u30020\u30021/",
        "http://localhost/",
        "http://LOCALHOST./",
        "http://app.localhost/",
    ],
)
def test_an_address_inside_is_refused_with_a_hint_for_the_operator(url: str) -> None:
    problem = url_problem(url)
    assert problem is not None
    assert "operator" in problem
    everything = parse_subnets("0.0.0.0/0,::/0")
    assert url_problem(url, everything) is None


@given(st.text(max_size=30))
def test_whatever_is_accepted_goes_into_one_request_line(rest: str) -> None:
    try:
        parsed = parse_url("http://example.com" + rest)
    except ValueError:
        return
    for part in (parsed.host, parsed.target, parsed.host_header):
        assert part.isascii()
        assert part.isprintable()
        assert " " not in part
