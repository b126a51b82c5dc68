# roots.awk - a PEM bundle's trust roots as bytes in octal; contrib/roots makes a C array of them.
# usage: awk -f roots.awk BUNDLE
# A trust root is no more than a name and a key, so that is all that is kept: for each certificate its subject and its
# subjectPublicKeyInfo (RFC 5280 section 4.1), both in DER, one after the other.  A certificate that says that it is no
# CA, or that cannot be read, is left out.  POSIX awk: it knows neither bits nor hexadecimal numbers, so bytes are kept
# as text, two hexadecimal digits each, and base64 is arithmetic.

BEGIN {
	digits = "0123456789abcdef"
	alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for (i = 0; i < 256; i++) {
		pair = substr(digits, int(i / 16) + 1, 1) substr(digits, i % 16 + 1, 1)
		hex[i] = pair
		value[pair] = i
	}
	for (i = 0; i < 64; i++)
		sextet[substr(alphabet, i + 1, 1)] = i
}

function decode(text,    out, i, n, a, b, c, d)
{
	out = ""
	n = length(text)
	for (i = 1; i + 3 <= n; i += 4) {
		a = sextet[substr(text, i, 1)]
		b = sextet[substr(text, i + 1, 1)]
		c = substr(text, i + 2, 1)
		d = substr(text, i + 3, 1)
		out = out hex[a * 4 + int(b / 16)]
		if (c != "=")
			out = out hex[b % 16 * 16 + int(sextet[c] / 4)]
		if (d != "=")
			out = out hex[sextet[c] % 4 * 64 + sextet[d]]
	}
	return out
}

# Where, in digits counted from 1, the content of the element at `at` begins; its end is left in `end`.
function content(der, at,    n, count, i)
{
	n = value[substr(der, at + 2, 2)]
	at += 4
	if (n >= 128) {
		count = n - 128
		n = 0
		for (i = 0; i < count; i++) {
			n = n * 256 + value[substr(der, at, 2)]
			at += 2
		}
	}
	end = at + 2 * n
	return at
}

# Does the certificate say, in basicConstraints (2.5.29.19), that it is no CA?
function no_ca(extensions,    at)
{
	at = index(extensions, "0603551d13")
	if (!at)
		return 0
	at += 10
	if (substr(extensions, at, 6) == "0101ff")
		at += 6
	return substr(extensions, at + 8, 6) != "0101ff"
}

function keep(der,    at, i, from)
{
	at = content(der, 1)                       # Certificate
	if (substr(der, 1, 2) != "30" || end != length(der) + 1)
		return
	at = content(der, at)                      # TBSCertificate
	if (substr(der, at, 2) == "a0") {          # version
		content(der, at)
		at = end
	}
	for (i = 0; i < 4; i++) {                  # serialNumber, signature, issuer, validity
		content(der, at)
		at = end
	}
	from = at
	for (i = 0; i < 2; i++) {                  # subject, subjectPublicKeyInfo
		content(der, at)
		at = end
	}
	if (end > length(der) || no_ca(substr(der, at)))
		return
	bytes[count++] = substr(der, from, at - from)
	total += (at - from) / 2
}

{ sub(/\r$/, "") }
/^-----END CERTIFICATE-----/ {
	if (inside)
		keep(decode(text))
	inside = 0
}
inside { gsub(/[ \t]/, ""); text = text $0 }
/^-----BEGIN CERTIFICATE-----/ { inside = 1; text = "" }

# The number of roots and of their bytes in one line; then the bytes, as printf takes them behind %b.
END {
	print count + 0, total + 0
	for (i = 0; i < count; i++) {
		line = ""
		for (at = 1; at < length(bytes[i]); at += 2)
			line = line sprintf("\\0%03o", value[substr(bytes[i], at, 2)])
		print line
	}
}
