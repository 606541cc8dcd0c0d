//! Sequences of calls that only C can make, to SoftHSM2 and to this module: buffers of all sizes
//! and none, sessions of both kinds with what goes on in them, searches in pieces, templates with
//! mistakes. What the two answer agrees, or the difference is in a table with its reason.

use std::collections::HashSet;
use std::path::Path;

use cryptoki_sys::*;

use crate::differential::{SOFTHSM, write_configuration};
use crate::processes::program;
use crate::programs::is_there;
use crate::support::{Hsm, module};

/// One of the program's lines: a call with what was passed, its code, and what else it gave.
#[derive(Debug, PartialEq, Eq)]
struct Line<'a> {
    call: &'a str,
    code: CK_RV,
    values: &'a str,
}

impl<'a> Line<'a> {
    fn read(line: &'a str) -> Self {
        let (call, answer) = line.split_once(": 0x").expect("a call and its answer");
        let (code, values) = answer.split_once(' ').unwrap_or((answer, ""));
        Self {
            call: call.trim_end(),
            code: CK_RV::from_str_radix(code, 16).expect("a number"),
            values,
        }
    }

    fn function(&self) -> &'a str {
        self.call.split(' ').next().expect("a name")
    }
}

/// A difference that is meant: of these functions, with one of these codes here and there.
struct Difference {
    functions: &'static [&'static str],
    ours: &'static [CK_RV],
    theirs: &'static [CK_RV],
    /// Of searches: the numbers of what was sought, in compared.c.
    sought: &'static [&'static str],
    reason: &'static str,
}

const fn differ(
    functions: &'static [&'static str],
    ours: &'static [CK_RV],
    theirs: &'static [CK_RV],
    reason: &'static str,
) -> Difference {
    Difference {
        functions,
        ours,
        theirs,
        sought: &[],
        reason,
    }
}

/// The codes for a mistake in a template.
const TEMPLATE: &[CK_RV] = &[
    CKR_ARGUMENTS_BAD,
    CKR_ATTRIBUTE_READ_ONLY,
    CKR_ATTRIBUTE_TYPE_INVALID,
    CKR_ATTRIBUTE_VALUE_INVALID,
    CKR_KEY_SIZE_RANGE,
    CKR_TEMPLATE_INCOMPLETE,
    CKR_TEMPLATE_INCONSISTENT,
];
const ATTRIBUTES: &[CK_RV] = &[
    CKR_OK,
    CKR_ATTRIBUTE_SENSITIVE,
    CKR_ATTRIBUTE_TYPE_INVALID,
    CKR_BUFFER_TOO_SMALL,
];
const SIZES: &[CK_RV] = &[CKR_OK, CKR_BUFFER_TOO_SMALL];
const NOT_BEGUN: &[CK_RV] = &[CKR_OPERATION_NOT_INITIALIZED];

const DIFFERENCES: &[Difference] = &[
    differ(
        &["C_SignUpdate"],
        &[CKR_OK, CKR_DATA_LEN_RANGE],
        NOT_BEGUN,
        "parts of what is hashed already are taken, as OpenSC's programs send them",
    ),
    differ(
        &["C_SignFinal"],
        &[CKR_OK, CKR_BUFFER_TOO_SMALL, CKR_DATA_LEN_RANGE],
        NOT_BEGUN,
        "and so there is something to finish, be it empty",
    ),
    differ(
        &["C_Sign"],
        SIZES,
        NOT_BEGUN,
        "who asks for a size after parts is told it, as by C_SignFinal",
    ),
    differ(
        &["C_Digest", "C_Encrypt"],
        NOT_BEGUN,
        &[CKR_OK, CKR_BUFFER_TOO_SMALL, CKR_DATA_LEN_RANGE],
        "a message comes whole or in parts, not both",
    ),
    differ(
        &["C_EncryptUpdate", "C_DecryptUpdate"],
        &[CKR_OK],
        &[CKR_OK, CKR_BUFFER_TOO_SMALL],
        "the HSM takes a message whole: all comes out at the end, and no part needs room",
    ),
    differ(
        &["C_EncryptUpdate", "C_DecryptUpdate"],
        &[CKR_OK],
        &[CKR_FUNCTION_NOT_SUPPORTED],
        "parts are taken of RSA's messages as well",
    ),
    differ(
        &["C_Decrypt"],
        &[CKR_ENCRYPTED_DATA_LEN_RANGE, CKR_ENCRYPTED_DATA_INVALID],
        &[CKR_OK, CKR_BUFFER_TOO_SMALL, CKR_GENERAL_ERROR],
        "what can't be decrypted is told as such, and before there is a question of room",
    ),
    differ(
        &["C_Decrypt"],
        SIZES,
        &[CKR_BUFFER_TOO_SMALL],
        "room for the text is enough, though the ciphertext is longer",
    ),
    differ(
        &["C_GetAttributeValue"],
        ATTRIBUTES,
        ATTRIBUTES,
        "private keys have CKA_MODULUS_BITS, too; of several problems another one is told",
    ),
    differ(
        &["C_GenerateRandom"],
        &[CKR_OK],
        &[CKR_ARGUMENTS_BAD],
        "no bytes need no buffer",
    ),
    differ(
        &["C_GetSlotList"],
        &[CKR_OK],
        &[CKR_BUFFER_TOO_SMALL],
        "SoftHSM has one more slot, for a new token",
    ),
    differ(
        &["C_GenerateKey", "C_CreateObject"],
        &[CKR_TEMPLATE_INCONSISTENT],
        &[CKR_OK],
        "a new object's template with two values of an attribute is a mistake",
    ),
    differ(
        &["C_FindObjectsInit", "C_GenerateKey", "C_CreateObject"],
        &[CKR_ATTRIBUTE_VALUE_INVALID],
        &[CKR_OK],
        "a value has its type's size, and an AES key 16, 24 or 32 bytes",
    ),
    Difference {
        functions: &["C_FindObjects"],
        ours: &[CKR_OK],
        theirs: &[CKR_OK],
        // CKA_SIGN, CKA_MODULUS_BITS, an empty CKA_ID.
        sought: &["14", "15", "18"],
        reason: "AES keys of the HSM don't sign; private keys tell their size; each key has an id",
    },
    differ(
        &["C_GenerateKey", "C_CreateObject"],
        TEMPLATE,
        TEMPLATE,
        "both refuse, by another code, or by another one of several mistakes",
    ),
    differ(
        &["C_SetAttributeValue"],
        &[CKR_OK],
        &[CKR_ATTRIBUTE_READ_ONLY],
        "what is so already may be set to it",
    ),
    differ(
        &["C_SetAttributeValue"],
        &[CKR_ACTION_PROHIBITED],
        &[CKR_OK],
        "a program's own secret key is there to be wrapped, and stays as it came",
    ),
    differ(
        &["C_SetAttributeValue"],
        &[CKR_ARGUMENTS_BAD],
        &[CKR_ATTRIBUTE_VALUE_INVALID, CKR_SESSION_READ_ONLY],
        "a NULL value with a length is told first",
    ),
    differ(
        &["C_Logout"],
        &[CKR_USER_NOT_LOGGED_IN],
        &[CKR_OK],
        "who has not logged in can't log out",
    ),
];

/// Functions that leave nothing behind that what comes after could depend on.
const WITHOUT_STATE: [&str; 7] = [
    "C_GetAttributeValue",
    "C_GenerateRandom",
    "C_GetSlotList",
    "C_GenerateKey",
    "C_CreateObject",
    "C_SetAttributeValue",
    "C_Logout",
];

/// Why two answers differ, where they may; the call before: what a search is for.
fn reason(ours: &Line<'_>, theirs: &Line<'_>, sought: &str) -> Option<&'static str> {
    let fits = |difference: &&Difference| {
        let of_search = sought
            .split(' ')
            .any(|one| difference.sought.contains(&one));
        difference.functions.contains(&ours.function())
            && difference.ours.contains(&ours.code)
            && difference.theirs.contains(&theirs.code)
            && (difference.sought.is_empty() || of_search)
    };
    if ours.function() == "C_GetAttributeValue" && !tells_no_less(ours, theirs) {
        return None;
    }
    DIFFERENCES.iter().find(fits).map(|found| found.reason)
}

/// Whether each attribute has the length that SoftHSM tells; CKA_MODULUS_BITS may have one more.
fn tells_no_less(ours: &Line<'_>, theirs: &Line<'_>) -> bool {
    let asked = ours.call.split(' ').skip(2);
    let lens = ours.values.split(' ').zip(theirs.values.split(' '));
    let mut all = asked.zip(lens);
    all.all(|(asked, (own, other))| own == other || asked.starts_with("121/") && other == "-1")
}

/// The program's sequences, each with its family and number before its lines.
fn sequences(text: &str) -> Vec<(&str, Vec<Line<'_>>)> {
    let read = |sequence| {
        let mut lines = str::lines(sequence);
        let name = lines.next().unwrap_or_default();
        (name, lines.map(Line::read).collect())
    };
    text.split("= ").skip(1).map(read).collect()
}

fn run(hsm: &Hsm, program: &Path, module: &Path) -> String {
    let output = hsm.command(program).arg(module).output();
    let output = output.expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}\n{told}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn raw_calls_are_answered_as_softhsm_answers_them_or_differ_for_a_reason() {
    if !is_there(SOFTHSM) {
        return;
    }
    let mut hsm = Hsm::start();
    hsm.wait_long();
    let tokens = hsm.file("tokens");
    std::fs::create_dir(&tokens).unwrap();
    let configuration = hsm.file("softhsm2.conf");
    write_configuration(&configuration, &tokens);
    hsm.set("SOFTHSM2_CONF", configuration);
    let program = program(&hsm, "compared");
    let ours = run(&hsm, &program, module());
    let theirs = run(&hsm, &program, Path::new(SOFTHSM));
    let (ours, theirs) = (sequences(&ours), sequences(&theirs));
    assert_eq!(ours.len(), theirs.len());
    let (mut agreed, mut differed, mut used) = (0, 0, HashSet::new());
    for ((name, own), (_, other)) in ours.iter().zip(&theirs) {
        let mut sought = "";
        for (own, other) in own.iter().zip(other) {
            assert_eq!(own.call, other.call, "{name}");
            if own.function() == "C_FindObjectsInit" && own.code == CKR_OK {
                sought = own.call;
            }
            if own == other {
                agreed += 1;
                continue;
            }
            differed += 1;
            let known = reason(own, other, sought);
            used.insert(known.unwrap_or_else(|| panic!("{name}: {own:?}, SoftHSM's {other:?}")));
            if !WITHOUT_STATE.contains(&own.function()) {
                break;
            }
        }
    }
    assert!(agreed > 3000, "{agreed} calls agree, {differed} differ");
    for Difference { reason, .. } in DIFFERENCES {
        assert!(used.contains(reason), "no call differs since {reason}");
    }
    eprintln!("{agreed} raw calls agree with SoftHSM2, {differed} differ for a reason");
}
