# Keys of a token by the calls of PKCS#11 and Ruby's own Fiddle: found, signed with, verified by the module and by OpenSSL, and made:
# token.rb MODULE

require "fiddle"
require "openssl"

class Refused < StandardError
  attr_reader :code

  def initialize(name, code)
    @code = code
    super(format("C_%s: 0x%x", name, code))
  end
end

class Token
  # The places of functions in the module's list of them, which begins with a version.
  FUNCTIONS = {
    Initialize: 0, Finalize: 1, GetSlotList: 4, GetTokenInfo: 6, OpenSession: 12, CloseSession: 13, GetAttributeValue: 24,
    FindObjectsInit: 26, FindObjects: 27, FindObjectsFinal: 28, SignInit: 42, Sign: 43, VerifyInit: 48, Verify: 49, GenerateKeyPair: 59
  }.freeze
  CLASS, TOKEN, LABEL, ID, SIGN, VERIFY, PUBLIC_KEY_INFO, EC_PARAMS = 0, 1, 3, 0x102, 0x108, 0x10a, 0x129, 0x180
  PUBLIC_KEY, PRIVATE_KEY = 2, 3
  SHA256_RSA_PKCS, EC_KEY_PAIR_GEN, ECDSA = 0x40, 0x1040, 0x1041
  SIGNATURE_INVALID = 0xc0
  SERIAL_AND_WRITING = 4 | 2

  def initialize(file)
    @library = Fiddle.dlopen(file)
    # What templates point to has to live as long as the calls.
    @kept = []
    list = number
    get = Fiddle::Function.new(@library["C_GetFunctionList"], [Fiddle::TYPE_VOIDP], Fiddle::TYPE_LONG)
    raise Refused.new("GetFunctionList", -1) unless get.call(list).zero?

    @functions = Fiddle::Pointer.new(value(list))
    call(:Initialize, nil)
    count = number(1)
    slot = number
    call(:GetSlotList, 1, slot, count)
    @slot = value(slot)
    session = number
    call(:OpenSession, @slot, SERIAL_AND_WRITING, nil, nil, session)
    @session = value(session)
  end

  def close
    call(:CloseSession, @session)
    call(:Finalize, nil)
  end

  def label
    info = kept("\0" * 512)
    call(:GetTokenInfo, @slot, info)
    info[0, 32].strip
  end

  def find(label, kind)
    call(:FindObjectsInit, @session, template(CLASS => ulong(kind), LABEL => label), 2)
    found = kept("\0" * 16)
    count = number
    call(:FindObjects, @session, found, 2, count)
    call(:FindObjectsFinal, @session)
    raise "#{value(count)} keys #{label}" unless value(count) == 1

    found[0, 8].unpack1("J")
  end

  def pair(label)
    [find(label, PRIVATE_KEY), find(label, PUBLIC_KEY)]
  end

  def make(label)
    curve = OpenSSL::ASN1::ObjectId("prime256v1").to_der
    common = { TOKEN => "\1", LABEL => label, ID => "\7" }
    of_public = common.merge(EC_PARAMS => curve, VERIFY => "\1")
    of_private = common.merge(SIGN => "\1")
    public, private = number, number
    call(:GenerateKeyPair, @session, mechanism(EC_KEY_PAIR_GEN), template(of_public), of_public.size, template(of_private),
         of_private.size, public, private)
    [value(private), value(public)]
  end

  def sign(key, kind, data)
    call(:SignInit, @session, mechanism(kind), key)
    signature, length = kept("\0" * 512), number(512)
    call(:Sign, @session, kept(data), data.bytesize, signature, length)
    signature[0, value(length)]
  end

  def verifies?(key, kind, data, signature)
    call(:VerifyInit, @session, mechanism(kind), key)
    call(:Verify, @session, kept(data), data.bytesize, kept(signature), signature.bytesize)
    true
  rescue Refused => e
    raise unless e.code == SIGNATURE_INVALID

    false
  end

  # What OpenSSL makes of a public key.
  def outside(key)
    content = kept("\0" * 1024)
    asked = kept([PUBLIC_KEY_INFO, content.to_i, 1024].pack("J3"))
    call(:GetAttributeValue, @session, key, asked, 1)
    OpenSSL::PKey.read(content[0, asked[16, 8].unpack1("J")])
  end

  private

  # Each argument is a number or an address, as wide as a pointer.
  def call(name, *arguments)
    address = @functions[8 * (1 + FUNCTIONS.fetch(name)), 8].unpack1("J")
    function = Fiddle::Function.new(address, [Fiddle::TYPE_VOIDP] * arguments.size, Fiddle::TYPE_LONG)
    code = function.call(*arguments)
    raise Refused.new(name, code) unless code.zero?
  end

  def kept(content)
    memory = Fiddle::Pointer.malloc([content.bytesize, 1].max, Fiddle::RUBY_FREE)
    memory[0, content.bytesize] = content
    @kept << memory
    memory
  end

  def ulong(number) = [number].pack("J")
  def number(start = 0) = kept(ulong(start))
  def value(memory) = memory[0, 8].unpack1("J")
  def mechanism(kind) = kept([kind, 0, 0].pack("J3"))

  def template(attributes)
    kept(attributes.map { |type, content| [type, kept(content).to_i, content.bytesize].pack("J3") }.join)
  end
end

def expect(what, holds)
  raise "not so: #{what}" unless holds
end

MESSAGE = "what is signed"
DIGEST = OpenSSL::Digest.digest("SHA256", MESSAGE)

# Two numbers side by side, as OpenSSL has them.
def der(signature)
  halves = signature.unpack("a#{signature.bytesize / 2}a*")
  OpenSSL::ASN1::Sequence(halves.map { |half| OpenSSL::ASN1::Integer(OpenSSL::BN.new(half, 2)) }).to_der
end

token = Token.new(ARGV.fetch(0))
expect("the token is hsm", token.label == "hsm")

private, public = token.pair("rsa")
signature = token.sign(private, Token::SHA256_RSA_PKCS, MESSAGE)
expect("OpenSSL verifies it, rsa", token.outside(public).verify("SHA256", signature, MESSAGE))
expect("the module verifies it, rsa", token.verifies?(public, Token::SHA256_RSA_PKCS, MESSAGE, signature))
expect("of this message alone, rsa", !token.verifies?(public, Token::SHA256_RSA_PKCS, "another", signature))

{ "found" => token.pair("ec"), "made" => token.make("made-by-ruby") }.each do |what, (private, public)|
  signature = token.sign(private, Token::ECDSA, DIGEST)
  expect("OpenSSL verifies it, #{what}", token.outside(public).verify("SHA256", der(signature), MESSAGE))
  expect("the module verifies it, #{what}", token.verifies?(public, Token::ECDSA, DIGEST, signature))
  expect("of this digest alone, #{what}", !token.verifies?(public, Token::ECDSA, "\0" * 32, signature))
end
expect("the key that was made is found", token.pair("made-by-ruby").none?(&:zero?))
begin
  token.find("nothing", Token::PRIVATE_KEY)
  raise IndexError
rescue RuntimeError => e
  expect("a key that isn't there is not found", e.message == "0 keys nothing")
end
token.close
