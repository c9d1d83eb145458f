use super::*;

fn read(form: &str) -> Result<Vec<(String, String)>, Refusal> {
    let mut found: Vec<_> = Parameters::parse(form.as_bytes())?
        .0
        .into_iter()
        .map(|(name, value)| (name, value.expose().to_owned()))
        .collect();
    found.sort();
    Ok(found)
}

fn pairs(expected: &[(&str, &str)]) -> Result<Vec<(String, String)>, Refusal> {
    Ok(expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

#[test]
fn a_form_is_read_as_forms_are_written() {
    for (form, expected) in [
        ("", &[][..]),
        ("a=1&b=2", &[("a", "1"), ("b", "2")]),
        ("a=x+y%2Bz&b%20c=%C3%A9", &[("a", "x y+z"), ("b c", "é")]),
        ("a=b=c", &[("a", "b=c")]),
        ("a=&b=1", &[("b", "1")]),
        ("&a=1&&b=2&", &[("a", "1"), ("b", "2")]),
    ] {
        assert_eq!(read(form), pairs(expected), "{form}");
    }
}

#[test]
fn what_is_malformed_or_doubled_is_not_repaired() {
    let malformed = Err(invalid("The form is malformed."));
    for form in ["a", "a&b=1", "a=%", "a=%4", "a=%zz", "%zz=1", "a=%ff", "a=%00", "a=%+1"] {
        assert_eq!(read(form), malformed, "{form}");
    }
    let twice = Err(invalid("A parameter appears more than once."));
    for form in ["a=1&a=2", "a=1&a=1", "a=&a=", "a=1&%61=2"] {
        assert_eq!(read(form), twice, "{form}");
    }
    let many: Vec<String> = (0..=PARAMETERS_MAX).map(|number| format!("a{number}=1")).collect();
    assert_eq!(read(&many.join("&")), Err(invalid("There are too many parameters.")));
    assert!(read(&many[1..].join("&")).is_ok());
}
